"""Pairs of positions along one spatial axis, and what layers do to them.

Covariances between positions depend on the distances of two positions from each other
and from both borders, and hardly on large distances. So the n x n pairs of positions of
an axis are sorted into the pairs of a short axis with at most `RESOLUTION` positions:
the three distances (left border to first position, first to second, second to right
border) are kept where they are small, and the largest are cut to what is left. Axes of
at most `RESOLUTION` positions are exact. On these classes every spatial layer is a
matrix, the average over the true pairs in a class.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

RESOLUTION = 12
# Longer axes behave like this one: their borders weigh nothing.
_LONGEST = 512


def size(n: int) -> int:
    """The number of positions that stand for the n of an axis."""
    return min(n, RESOLUTION)


@functools.lru_cache(maxsize=256)
def pair_classes(n: int) -> np.ndarray:
    """The class of every pair of positions: array `(n, n)` of `size(n)^2` numbers."""
    m = size(n)
    first, second = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    if m < n:
        low, high = np.minimum(first, second), np.maximum(first, second)
        parts = _cut(np.stack([low, high - low, n - 1 - high]), m - 1)
        near, far = parts[0], parts[0] + parts[1]
        first = np.where(first <= second, near, far)
        second = np.where(first == near, far, near)
    return first * m + second


def _cut(parts: np.ndarray, total: int) -> np.ndarray:
    """Three distances cut to a sum of `total`, the largest first."""
    order = np.argsort(-parts, axis=0, kind="stable")
    large, middle, small = np.take_along_axis(parts, order, axis=0)
    # Cut the largest; where it would fall below the second, both; else all three.
    one = total - middle - small
    two = total - small
    third = total // 3
    cut = np.where(
        one >= middle,
        [one, middle, small],
        np.where(
            two // 2 >= small,
            [two - two // 2, two // 2, small],
            np.array([total - 2 * third, third, third])[:, None, None],
        ),
    )
    result = np.empty_like(parts)
    np.put_along_axis(result, order, cut, axis=0)
    return result


@functools.lru_cache(maxsize=256)
def position_weights(n: int) -> np.ndarray:
    """The share of an axis' positions that every class has."""
    short = min(n, _LONGEST)
    classes = np.diag(pair_classes(short)) // (size(n) + 1)
    weights = np.bincount(classes, minlength=size(n)).astype("float64")
    # All that a long axis has more is in its middle.
    weights[weights == weights.max()] += (n - short) / np.sum(weights == weights.max())
    return weights / n


@functools.lru_cache(maxsize=256)
def pair_weights(n: int) -> np.ndarray:
    """The share of all pairs of positions that every class of pairs has."""
    m = size(n)
    weights = (
        np.bincount(pair_classes(min(n, _LONGEST)).ravel(), minlength=m * m)
        / min(n, _LONGEST) ** 2
    )
    if n > _LONGEST:
        # A long axis has the same borders, and fewer pairs of equal positions.
        weights[:: m + 1] *= _LONGEST / n
        weights /= weights.sum()
    return weights


@functools.lru_cache(maxsize=256)
def row_weights(n: int) -> np.ndarray:
    """For each position, the weights of all pairs it is in: matrix `(m, m^2)`."""
    m, short = size(n), min(n, _LONGEST)
    pairs = pair_classes(short)
    own = np.diag(pairs) // (m + 1)
    flat = (own[:, None] * m * m + pairs).ravel()
    rows = np.bincount(flat, minlength=m**3).reshape(m, m * m)
    return rows / rows.sum(axis=1, keepdims=True)


@functools.lru_cache(maxsize=256)
def half_of_pairs(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of positions up to their order.

    Returns:
        Two arrays of indices of flattened pairs: those that are kept, and for every
        pair the place among them.
    """
    sizes = [m for n in shape for m in (size(n), size(n))]
    index = np.arange(int(np.prod(sizes))).reshape(sizes)
    order = [axis ^ 1 for axis in range(len(sizes))]
    first = np.minimum(index, np.transpose(index, order)).ravel()
    half, whole = np.unique(first, return_inverse=True)
    return half, whole.ravel()


def shortened(n: int) -> int:
    """A shorter axis for a very long one, alike with respect to strides."""
    return n if n <= _LONGEST else _LONGEST - 64 + n % 64


def longest() -> int:
    """The number of positions of the longest axis that is not shortened."""
    return _LONGEST


def classes(sizes: Sequence[int]) -> tuple[np.ndarray, int]:
    """The class of every position of some axes, and how many classes there are.

    Positions are in the order of a reshape, and so are classes.
    """
    short = [size(n) for n in sizes]
    index = np.zeros(1, int)
    for n, m in zip(sizes, short, strict=True):
        own = np.diag(pair_classes(n)) // (m + 1)
        index = np.add.outer(index * m, own).ravel()
    return index, math.prod(short)


def classes_of_pairs(sizes: Sequence[int]) -> tuple[np.ndarray, int]:
    """The class of every pair of positions of some axes, likewise."""
    index, total = np.zeros((1, 1), np.int32), 1
    for n in sizes:
        m, before = size(n) ** 2, len(index)
        grid = pair_classes(n).astype(np.int32)
        index = index[:, None, :, None] * m + grid[None, :, None, :]
        index, total = index.reshape(before * n, before * n), total * m
    return index.ravel(), total


def average(values: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Numbers of all positions, averaged over classes: array `(1, *classes)`."""
    index, total = classes(sizes)
    counts, sums = (np.bincount(index, w, minlength=total) for w in (None, values))
    return (sums / np.maximum(counts, 1)).reshape(1, *(size(n) for n in sizes))


def average_of_pairs(matrix: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Numbers of all pairs of positions, averaged likewise."""
    index, total = classes_of_pairs(sizes)
    counts = np.bincount(index, minlength=total)
    sums = np.bincount(index, matrix.ravel(), minlength=total)
    return (sums / np.maximum(counts, 1)).reshape(1, *(size(n) ** 2 for n in sizes))
