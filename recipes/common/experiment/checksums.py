"""Checksums of stored files: what has changed since it was written is noticed.

A JSON file carries its SHA-256 as its last entry, so that the two cannot be parted.
Checkpoints and models have it beside them, in NAME.sha256, as `sha256sum -c` reads it.
"""

import hashlib
import pathlib
import re

from recipes.common.experiment.errors import UnusableFileError

KEY = "checksum"
SUFFIX = ".sha256"
_SEAL = re.compile(rf',?\n "{KEY}": "([0-9a-f]{{64}})"\n}}\n?\Z')
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sealed(text):
    """The text of a JSON object, indented by 1, with its checksum as the last entry.

    Example:

    >>> sealed('{\\n "a": 1\\n}').splitlines()[:2]
    ['{', ' "a": 1,']
    """
    start = text.removesuffix("}").rstrip("\n")
    comma = "," if start != "{" else ""
    return f'{start}{comma}\n "{KEY}": "{_digest(text.encode())}"\n}}\n'


def is_sealed(text):
    """Whether a text carries a checksum.

    Raises:
        ValueError: If it does not belong to the text.
    """
    seal = _SEAL.search(text)
    if seal is None:
        return False
    start = text[: seal.start()]
    before = "{}" if start == "{" else start + "\n}"
    if _digest(before.encode()) != seal[1]:
        raise ValueError("its checksum belongs to another content")
    return True


def lines_for(path, *contents):
    """The text of the file beside `path`, with the checksums of these files."""
    return "".join(f"{digest_of(file)}  {path.name}\n" for file in contents)


def check_beside(path, what_to_do, must_exist=True):
    """Refuses a file that is not the one that its checksum was made of.

    Args:
        path: Path of the file.
        what_to_do: str. How to go on without it, for the error.
        must_exist: bool. Whether a file without a checksum is refused.

    Raises:
        UnusableFileError: If it is another one, or cannot be read.
    """
    where = beside(path)
    try:
        if not where.exists() and not must_exist:
            return
        digest = digest_of(path)
        lines = where.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        name = getattr(error, "filename", None) or where
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UnusableFileError(
            f"{name} cannot be read: {reason}. {what_to_do}"
        ) from error
    found = [_LINE.fullmatch(line) for line in lines]
    if not lines or not all(line and line[2] == path.name for line in found):
        raise UnusableFileError(f"{where} is damaged. {what_to_do}")
    if digest not in [line[1] for line in found]:
        raise UnusableFileError(
            f"{path} is damaged: its checksum is not the one in {where.name}. "
            f"{what_to_do}"
        )


def beside(path):
    """The path of the file that holds the checksum of `path`."""
    path = pathlib.Path(path)
    return path.with_name(path.name + SUFFIX)


def digest_of(path):
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content):
    return hashlib.sha256(content).hexdigest()
