"""Spatial axes that are merged and split, position by position.

On the classes of `fixinit.theory.calculus.positions` this is a linear map: every pair
of new positions is one pair of old ones, and classes are averaged.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from fixinit._checked import checked
from fixinit._validation import check_known_shape
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments

# Positions of a block whose pairs are listed one by one.
_MOST = 1024


@checked
def regroup(x: Moments, shape: Sequence[int]) -> Moments:
    """Merges and splits spatial axes, in the order of their positions.

    Exact up to classes of positions, in blocks of at most 1024 positions. In larger
    ones all pairs of different positions get the average of such pairs.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 4, 16))
    >>> fixinit.theory.calculus.regroup(x, (2, 2, 4)).shape
    (2, 2, 4)

    Args:
        x: `fixinit.theory.Moments`.
        shape: Sequence of ints, the new spatial axes, of as many positions.

    Returns:
        `Moments` of the same channels.
    """
    shape = check_known_shape("shape", shape, (8, 8))
    if shape == x.shape:
        return x
    if math.prod(shape) != math.prod(x.shape):
        raise ValueError(
            "Argument `shape` must have as many positions as the spatial axes. "
            f"Received: shape={shape} for spatial axes {x.shape}"
        )
    steps = _blocks(x.shape, shape)
    y = Moments(
        shape,
        x.channels,
        _along(steps, x.mean, "forward"),
        _along(steps, x.same, "pairs"),
        _along(steps, x.cross, "pairs"),
        x.sources,
    )
    y.node.link((x,), lambda g: [_along(steps, g, "backward")])
    if x.latent:
        y.latent = regroup(x.latent[0], shape), x.latent[1]
    return y


class _Block:
    """Axes of sizes `before` that become axes of sizes `after`.

    Attributes:
        forward, pairs: Sparse matrices from old classes to new ones, of positions and
            of pairs.
        backward: Sparse matrix from new classes of positions to old ones.
    """

    def __init__(self, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self.before, self.after = before, after
        self.count = math.prod(before)

    @functools.cached_property
    def forward(self) -> sparse.csr_array:
        return _matrix(positions.classes(self.after), positions.classes(self.before))

    @functools.cached_property
    def backward(self) -> sparse.csr_array:
        return _matrix(positions.classes(self.before), positions.classes(self.after))

    @functools.cached_property
    def pairs(self) -> sparse.csr_array:
        if self.count > _MOST:
            return self._averaged()
        return _matrix(
            positions.classes_of_pairs(self.after),
            positions.classes_of_pairs(self.before),
        )

    def _averaged(self) -> sparse.csr_array:
        """Equal positions, and all pairs of different ones alike."""
        weights, own = np.ones(1), np.ones(1)
        for n in self.before:
            m = positions.size(n)
            alone = np.zeros(m * m)
            alone[:: m + 1] = positions.position_weights(n)
            weights = np.multiply.outer(weights, positions.pair_weights(n)).ravel()
            own = np.multiply.outer(own, alone).ravel()
        others = (weights - own / self.count) / (1 - 1 / self.count)
        equal = np.ones(1, bool)
        for n in self.after:
            m = positions.size(n)
            equal = np.logical_and.outer(equal, np.arange(m * m) % (m + 1) == 0).ravel()
        return sparse.csr_array(np.where(equal[:, None], own, others))


def _matrix(
    rows: tuple[np.ndarray, int], columns: tuple[np.ndarray, int]
) -> sparse.csr_array:
    """The average over what is in a class of rows, by classes of columns."""
    (row, height), (column, width) = rows, columns
    flat = row.astype(np.int64) * width + column
    keys, counts = np.unique(flat, return_counts=True)
    sizes = np.bincount(row, minlength=height)
    entries = counts / sizes[keys // width]
    return sparse.csr_array(
        (entries, (keys // width, keys % width)), shape=(height, width)
    )


@functools.lru_cache(maxsize=64)
def _block(before: tuple[int, ...], after: tuple[int, ...]) -> _Block:
    return _Block(before, after)


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[_Block]:
    """The smallest blocks of axes with as many positions before as after."""
    result, i, j = [], 0, 0
    while i < len(before) or j < len(after):
        low, high = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while math.prod(before[low:i]) != math.prod(after[high:j]):
            if math.prod(before[low:i]) < math.prod(after[high:j]):
                i += 1
            else:
                j += 1
        result.append(_block(before[low:i], after[high:j]))
    return result


def _along(steps: list[_Block], values: np.ndarray, kind: str) -> np.ndarray:
    """Applies the matrices of blocks to arrays of positions or of pairs."""
    power = 2 if kind == "pairs" else 1
    result, axis = values, 1
    for step in steps:
        old, new = step.before, step.after
        if kind == "backward":
            old, new = new, old
        if old != new:
            matrix = getattr(step, kind)
            front = result.shape[:axis]
            rest = result.shape[axis + len(old) :]
            flat = result.reshape(math.prod(front), matrix.shape[1], math.prod(rest))
            moved = np.moveaxis(flat, 1, 0).reshape(matrix.shape[1], -1)
            made = (matrix @ moved).reshape(-1, math.prod(front), math.prod(rest))
            sizes = [positions.size(n) ** power for n in new]
            result = np.moveaxis(made, 0, 1).reshape(*front, *sizes, *rest)
        axis += len(new)
    return result
