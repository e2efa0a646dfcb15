"""Reductions over some axes: averages and maxima over positions and channels."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_entries
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.elementwise import apply, scale
from fixinit.theory.calculus.max_pooling import max_pool
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import along, outer
from fixinit.theory.calculus.positive import is_never_negative, positive
from fixinit.theory.calculus.rearranging import channels_to_axis
from fixinit.theory.calculus.windows import Window
from fixinit.theory.gaussian.functions import Function

# What so many channels have in common does not depend on one of them.
_MANY = 8
_SQUARE = Function(np.square, lambda x: 2 * x)
_ROOT = Function(
    lambda x: np.sqrt(np.maximum(x, 0.0)),
    lambda x: np.where(x > 0, 0.5 / np.sqrt(np.maximum(x, 1e-300)), 0.0),
    (0.0,),
)


@checked
def average(x: Moments, axes: Sequence[int]) -> Moments:
    """Averages over some of the axes, which stay with size 1.

    Moments of pairs are averaged over all pairs. Channels are taken to be independent;
    of at least eight the average is taken to be independent of each one.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> fixinit.theory.calculus.average(x, [0, 2]).mean_square  # 1 / (8 * 16)
    0.0078125

    Args:
        x: `fixinit.theory.Moments`.
        axes: Sequence of ints, counted from 0 without the batch; the channels are the
            last one.

    Returns:
        `Moments` with size 1 on these axes.
    """
    axes = check_entries("axes", axes, len(x.shape) + 1)
    y = _reduced(x, axes, _averaged)
    return positive(y) if is_never_negative(x) else y


@checked
def total(x: Moments, axes: Sequence[int]) -> Moments:
    """Sums over some of the axes: their size times the average.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> round(fixinit.theory.calculus.total(x, [0, 2]).mean_square, 9)  # 8 * 16
    128.0

    Args:
        x: `fixinit.theory.Moments`.
        axes: As in `average`.

    Returns:
        `Moments` with size 1 on these axes.
    """
    axes = check_entries("axes", axes, len(x.shape) + 1)
    sizes = (*x.shape, x.total_channels)
    return scale(average(x, axes), math.prod(sizes[axis] for axis in axes))


@checked
def largest(x: Moments, axes: Sequence[int], sign: float = 1.0) -> Moments:
    """Takes the maximum over some of the axes, which stay with size 1.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 4))
    >>> y = fixinit.theory.calculus.largest(x, [1])
    >>> y.total_channels, round(y.mean_value, 2)  # of four standard normals
    (1, 1.03)

    Args:
        x: `fixinit.theory.Moments`.
        axes: As in `average`.
        sign: float. -1 gives the minimum; 1 by default.

    Returns:
        `Moments` with size 1 on these axes.
    """
    axes = check_entries("axes", axes, len(x.shape) + 1)

    def pooled(x: Moments, axes: Sequence[int]) -> Moments:
        windows = [
            Window.everything(n) if axis in axes else Window.at(n, tuple(range(n)))
            for axis, n in enumerate(x.shape)
        ]
        return max_pool(x, windows)

    if sign < 0:
        return scale(largest(scale(x, -1.0), axes), -1.0)
    return _reduced(x, axes, pooled)


@checked
def spread(x: Moments, axes: Sequence[int], root: bool = False) -> Moments:
    """Computes the variance over some of the axes, which stay with size 1.

    Its mean is exact; it fluctuates as the mean square about the expected mean does.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16), mean=3.0)
    >>> y = fixinit.theory.calculus.spread(x, [0, 1])
    >>> round(y.mean_value, 6)  # 1 - 1 / 64
    0.984375

    Args:
        x: `fixinit.theory.Moments`.
        axes: As in `average`.
        root: bool. Whether its root is taken, the standard deviation.

    Returns:
        `Moments` with size 1 on these axes.
    """
    axes = check_entries("axes", axes, len(x.shape) + 1)
    x = scale(x, 1.0, -x.mean_value)
    squares = _reduced(apply(x, _SQUARE), axes, _averaged)
    mean = _reduced(x, axes, _averaged)
    value = np.maximum(squares.mean - mean.squares, 0.0)
    shape = squares.shape
    moved = outer(value, shape) - outer(squares.mean, shape)
    y = squares.like(value, squares.same + moved, squares.cross + moved)
    y.node.link((squares,), lambda g: [g])
    y = positive(y)
    return apply(y, _ROOT) if root else y


def _reduced(
    x: Moments,
    axes: Sequence[int],
    reduce: Callable[[Moments, Sequence[int]], Moments],
) -> Moments:
    """A reduction over positions, for positions and channels."""
    rank, count = len(x.shape), x.total_channels
    if rank not in axes:
        return reduce(x, axes)
    y = reduce(channels_to_axis(x, count), axes)
    sources = frozenset([object()]) if count >= _MANY else x.sources
    one = Moments(
        y.shape[:-1],
        [1],
        y.mean[..., 0],
        y.same[..., 0],
        y.cross[..., 0],
        sources,
    )
    one.node.link((y,), lambda g: [g[..., None]])
    return one


def _averaged(x: Moments, axes: Sequence[int]) -> Moments:
    shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    mean, same, cross = x.mean, x.same, x.cross
    for axis in axes:
        n = x.shape[axis]
        mean = along(positions.position_weights(n)[None], mean, axis + 1)
        pairs = positions.pair_weights(n)[None]
        same, cross = along(pairs, same, axis + 1), along(pairs, cross, axis + 1)
    y = Moments(shape, x.channels, mean, same, cross, x.sources)
    count, into = math.prod(x.shape[axis] for axis in axes), x.mean.shape
    y.node.link((x,), lambda g: [np.broadcast_to(g / count**2, into)])
    return y
