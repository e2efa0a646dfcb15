"""Reshaping: axes come and go, positions become channels and channels positions."""

from collections.abc import Sequence

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import diagonal, set_diagonal


def flatten(x: Moments) -> Moments:
    """Turns all positions into channels.

    Every position becomes a group of channels with its moments.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 4, 16))
    >>> y = fixinit.theory.calculus.flatten(x)
    >>> y.shape, y.total_channels
    ((), 256)

    Args:
        x: `fixinit.theory.Moments`.

    Returns:
        `Moments` without spatial axes.
    """
    if not x.shape:
        return x
    weights = np.ones(1)
    for n in x.shape:
        counts = np.round(positions.position_weights(n) * n)
        weights = np.multiply.outer(weights, counts)
    channels = np.multiply.outer(x.channels, weights[0]).reshape(-1)
    mean, same, cross = (
        values.reshape(-1) for values in (x.mean, x.squares, diagonal(x.cross, x.shape))
    )
    y = Moments((), channels, mean, same, cross, x.sources)
    into = x.mean.shape
    y.node.link((x,), lambda g: [g.reshape(into)])
    return y


def reshape(x: Moments, shape: Sequence[int]) -> Moments:
    """Adds or removes spatial axes of length 1; the channels stay.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 16))
    >>> fixinit.theory.calculus.reshape(x, (1, 4)).shape
    (1, 4)

    Args:
        x: `fixinit.theory.Moments`.
        shape: Sequence of ints, the new spatial axes. But for axes of length 1 they are
            those of `x`.

    Returns:
        `Moments` of that shape.
    """
    sizes = [positions.size(n) for n in shape]
    groups = len(x.channels)
    y = Moments(
        shape,
        x.channels,
        x.mean.reshape(groups, *sizes),
        x.same.reshape(groups, *(m * m for m in sizes)),
        x.cross.reshape(groups, *(m * m for m in sizes)),
        x.sources,
    )
    into = x.mean.shape
    y.node.link((x,), lambda g: [g.reshape(into)])
    return y


def merge_space(x: Moments, shape: Sequence[int]) -> Moments:
    """Merges spatial axes into fewer, as in front of attention.

    All positions get the average moments of one position, and all pairs of different
    positions the average of such pairs.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 4, 16))
    >>> y = fixinit.theory.calculus.merge_space(x, (16,))
    >>> y.shape, y.mean_square
    ((16,), 1.0)

    Args:
        x: `fixinit.theory.Moments`.
        shape: Sequence of ints, the new spatial axes, of as many positions.

    Returns:
        `Moments` of that shape.
    """
    equal = x.average(x.squares)
    count = np.prod(x.shape)

    def pairs(values: np.ndarray) -> np.ndarray:
        own = x.average(diagonal(values, x.shape))
        others = (x.pair_average(values) - own / count) / (1 - 1 / count)
        made = Moments.inputs((*shape, 1), 0.0, 0.0)
        ones = np.ones_like(made.same)
        lift = (len(own), *(1,) * len(shape))
        return set_diagonal(ones * others.reshape(lift), shape, own.reshape(lift))

    mean = x.average(x.mean).reshape(len(equal), *(1,) * len(shape))
    sizes = [positions.size(n) for n in shape]
    y = Moments(
        shape,
        x.channels,
        np.broadcast_to(mean, (len(equal), *sizes)),
        pairs(x.same),
        pairs(x.cross),
        x.sources,
    )
    into, average = x.mean.shape, y.average
    lift = (len(equal), *(1,) * len(x.shape))
    y.node.link((x,), lambda g: [np.broadcast_to(average(g).reshape(lift), into)])
    return y


def unflatten(x: Moments, shape: Sequence[int]) -> Moments:
    """Turns channels into positions, each of which gets channels of its own.

    Example:

    >>> x = fixinit.theory.Moments.inputs((64,), variance=2.0)
    >>> y = fixinit.theory.calculus.unflatten(x, (4, 4, 4))
    >>> y.shape, y.total_channels, y.mean_square
    ((4, 4), 4, 2.0)

    Args:
        x: `fixinit.theory.Moments` without spatial axes.
        shape: Sequence of ints, `(*space, channels)`.

    Returns:
        `Moments` of that shape, equal at all positions.
    """
    *space, channels = shape
    mean = float(x.shares @ x.mean)
    y = Moments.inputs((*space, channels), mean, 0.0)
    set_diagonal(y.same, space, x.mean_square)
    set_diagonal(y.cross, space, float(x.shares @ x.cross))
    y.sources = x.sources
    into, average = x.mean.shape, y.average
    y.node.link((x,), lambda g: [np.full(into, float(average(g)[0]))])
    return y
