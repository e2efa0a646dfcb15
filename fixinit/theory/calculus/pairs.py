"""Arrays over positions and pairs of positions, `(groups, *positions)` and `*pairs`.

Axis by axis, the pairs of an axis of m positions are one axis of m * m numbers, the
first position of the pair first.
"""

from collections.abc import Sequence

import numpy as np

from fixinit.theory.calculus import positions


def diagonal(pairs: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The entries of `(groups, *pairs)` where both positions are one."""
    steps = (slice(None, None, positions.size(n) + 1) for n in shape)
    return pairs[(slice(None), *steps)]


def set_diagonal(
    pairs: np.ndarray, shape: Sequence[int], values: np.ndarray | float
) -> np.ndarray:
    """Replaces those entries in place; returns the array."""
    steps = (slice(None, None, positions.size(n) + 1) for n in shape)
    pairs[(slice(None), *steps)] = values
    return pairs


def first(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """`(groups, *positions)` as `(groups, *pairs)`: the value at the first position."""
    for axis, n in enumerate(shape):
        values = np.repeat(values, positions.size(n), axis=axis + 1)
    return values


def second(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """`(groups, *positions)` as `(groups, *pairs)`: at the second position."""
    for axis, n in enumerate(shape):
        m = positions.size(n)
        index = np.tile(np.arange(m), m)
        values = np.take(values, index, axis=axis + 1)
    return values


def outer(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The products of the values at both positions: `(groups, *pairs)`."""
    return first(values, shape) * second(values, shape)


def along(matrix: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Applies a matrix to one axis."""
    return np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)


def position_average(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The average of `(groups, *positions)` over positions: `(groups,)`."""
    for n in shape:
        values = np.tensordot(values, positions.position_weights(n), (1, 0))
    return values


def pair_average(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The average of `(groups, *pairs)` over all pairs of positions: `(groups,)`."""
    for n in shape:
        values = np.tensordot(values, positions.pair_weights(n), (1, 0))
    return values


def row_average(pairs: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The average over the second position: `(groups, *positions)`."""
    for axis, n in enumerate(shape):
        pairs = along(positions.row_weights(n), pairs, axis + 1)
    return pairs


def equal_positions(sizes: Sequence[int]) -> np.ndarray:
    """Marks the pairs of a position with itself: bool array `(1, *pairs)`."""
    equal = np.ones((1, *(m * m for m in sizes)), bool)
    for axis, m in enumerate(sizes):
        on_diagonal = np.arange(m * m) % (m + 1) == 0
        others = tuple(i for i in range(len(sizes) + 1) if i != axis + 1)
        equal &= np.expand_dims(on_diagonal, others)
    return equal
