"""Arrays over pairs of positions: diagonals, outer sums and matrices along an axis."""

import numpy as np

from fixinit.theory.calculus import positions


def diagonal(pairs, shape):
    """The entries of `(groups, *pairs)` where both positions are one."""
    steps = (slice(None, None, positions.size(n) + 1) for n in shape)
    return pairs[(slice(None), *steps)]


def set_diagonal(pairs, shape, values):
    """Replaces those entries in place."""
    steps = (slice(None, None, positions.size(n) + 1) for n in shape)
    pairs[(slice(None), *steps)] = values
    return pairs


def first(values, shape):
    """`(groups, *positions)` as `(groups, *pairs)`: the value at the first position."""
    for axis, n in enumerate(shape):
        values = np.repeat(values, positions.size(n), axis=axis + 1)
    return values


def second(values, shape):
    """`(groups, *positions)` as `(groups, *pairs)`: at the second position."""
    for axis, n in enumerate(shape):
        m = positions.size(n)
        index = np.tile(np.arange(m), m)
        values = np.take(values, index, axis=axis + 1)
    return values


def position_average(values, shape):
    """The average of `(groups, *positions)` over positions."""
    for n in shape:
        values = np.tensordot(values, positions.position_weights(n), (1, 0))
    return values


def along(matrix, values, axis):
    """Applies a matrix to one axis."""
    return np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)


def others(axis, rank):
    """All axes of `(groups, *pairs)` but one spatial axis."""
    return tuple(i for i in range(rank + 1) if i != axis + 1)
