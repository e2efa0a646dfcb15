"""Checks that the answers of a scheme do not depend on the branch where it says so."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from fixinit.schemes._registry import is_own
from fixinit.schemes.scheme import Scheme

# So many blocks are compared one by one, and so many of the others: as a stack costs
# the same for any number of blocks, so does the check.
_FIRST, _OTHERS = 16, 8


def compared(depth: int) -> list[int]:
    """The indices of the blocks to compare with the first one of `depth` blocks."""
    others = np.linspace(_FIRST, depth - 1, _OTHERS) if depth > _FIRST else ()
    return sorted({*range(1, min(depth, _FIRST)), *(int(index) for index in others)})


def check_independent(scheme: Scheme, first: Any, others: Iterable[Any]) -> None:
    """Refuses a scheme whose answers depend on the branch though it says they do not.

    The library's own schemes are taken at their word, which their tests hold: comparing
    blocks costs as much as building a ResNet-110.

    Args:
        scheme: `Scheme` that does not declare `depends_on_branch`.
        first: Layer, or layers, of the first of some blocks that are to be made from
            one answer.
        others: Those of other blocks.

    Raises:
        ValueError: If they differ in more than names and seeds.
    """
    if not is_own(scheme):
        compare(scheme, first, others)


def compare(scheme: Scheme, first: Any, others: Iterable[Any]) -> None:
    """Compares the blocks of any scheme: see `check_independent`."""
    expected = _anonymous(keras.saving.serialize_keras_object(first))
    for other in others:
        if _anonymous(keras.saving.serialize_keras_object(other)) != expected:
            raise ValueError(
                f"The answers of {scheme!r} differ from block to block of a stack, but "
                "its `depends_on_branch` is False, so that one answer would stand for "
                "all of them. Declare `depends_on_branch = True` in the class."
            )


def _anonymous(config: Any) -> Any:
    """A config without the names and seeds in it."""
    if isinstance(config, dict):
        return {
            key: _anonymous(value)
            for key, value in config.items()
            if key not in ("name", "seed")
        }
    if isinstance(config, (list, tuple)):
        return [_anonymous(value) for value in config]
    return config
