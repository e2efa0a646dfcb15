"""A text as tokens, the last share of it for validation."""

import codecs
import dataclasses
import hashlib

import numpy as np

from recipes.language_model import text as text_lib
from recipes.language_model.vocabulary import Bytes, Characters, codes


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """The tokens of a text.

    Attributes:
        train: Integer array, the tokens of the beginning of the text.
        validation: Integer array, those of the rest.
        vocabulary: What they stand for: `Bytes`, or the `Characters` of the beginning.
        digest: str. Tells the text from others.
    """

    train: np.ndarray
    validation: np.ndarray
    vocabulary: Bytes | Characters
    digest: str


def load(settings):
    """Reads the text that the settings ask for.

    Args:
        settings: `recipes.language_model.settings.Settings`.

    Returns:
        `Corpus`.

    Raises:
        ValueError: If the text is empty, no UTF-8 where characters are asked for, or
            too short for a window in each of its parts.
        OSError: If it is missing or cannot be read.
    """
    text, is_cut = text_lib.read(settings.dataset, settings.max_bytes)
    by_bytes = settings.tokens == "bytes"
    found = (
        np.frombuffer(text, np.uint8) if by_bytes else _codes(text, is_cut, settings)
    )
    size = len(found) - round(settings.validation_share * len(found))
    train, validation = found[:size], found[size:]
    # A window, and the token that follows it.
    needed = settings.length + 1
    if min(len(train), len(validation)) < needed:
        raise ValueError(
            f"The text is too short: {len(train):,} tokens to train on and "
            f"{len(validation):,} for validation, and a window takes {needed:,}. "
            f"Received: --dataset={settings.dataset}, --length={settings.length}, "
            f"--validation_share={settings.validation_share}, "
            f"--max_bytes={settings.max_bytes}. Lower --length, or give more text."
        )
    vocabulary = Bytes()
    if not by_bytes:
        vocabulary = Characters.of(train)
        train, validation = vocabulary.tokens(train), vocabulary.tokens(validation)
    digest = hashlib.sha256(text).hexdigest()[:16]
    return Corpus(train, validation, vocabulary, digest)


def _codes(text, is_cut, settings):
    """The code points of UTF-8; a character that `max_bytes` has cut is left out."""
    try:
        return codes(codecs.getincrementaldecoder("utf-8")().decode(text, not is_cut))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The text of --dataset={settings.dataset} is no UTF-8: {error.reason} at "
            f"byte {error.start:,}. Received: --tokens={settings.tokens}. Pass "
            "--tokens=bytes, or convert the text."
        ) from error
