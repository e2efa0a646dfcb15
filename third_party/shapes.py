"""Names and shapes of foreign parameters against those that a network has."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def mismatches(
    arrays: Mapping[str, np.ndarray], expected: Mapping[str, Sequence[int | None]]
) -> list[str]:
    """Missing and unexpected names and wrong shapes, one line each.

    Args:
        arrays: Dict from names to arrays.
        expected: Dict from names to shapes, with `None` for any length but 0.
    """
    problems = []
    for name, shape in expected.items():
        if name not in arrays:
            problems.append(f"{name}: expected shape {_text(shape)}, received nothing")
        elif not _fits(arrays[name].shape, shape):
            received = _text(arrays[name].shape)
            problems.append(
                f"{name}: expected shape {_text(shape)}, received {received}"
            )
    problems += [
        f"{name}: expected no such name, received shape {_text(array.shape)}"
        for name, array in arrays.items()
        if name not in expected
    ]
    return problems


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        length == wanted or (wanted is None and length > 0)
        for length, wanted in zip(shape, expected, strict=True)
    )


def _text(shape: Iterable[int | None]) -> str:
    """A shape in PyTorch's notation, with `any` for a length of `None`."""
    return str(["any" if n is None else n for n in shape]).replace("'", "")
