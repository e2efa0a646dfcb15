"""Rearrangement of positions and channels: reshapes and transpositions of all axes.

Channels that become positions are independent of each other: the pair of two of them
has the product of their means. Positions that become channels become groups, in which
each channel has the moments of its position; what two of them had in common is left
out.
"""

import math
from collections.abc import Sequence

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_entries, check_known_shape
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import outer
from fixinit.theory.calculus.regrouping import regroup
from fixinit.theory.calculus.reshaping import reshape
from fixinit.theory.calculus.space import permute

# Groups that differ by no more than rounding are one.
_ROUNDING = 1e-9


@checked
def rearrange(x: Moments, shape: Sequence[int]) -> Moments:
    """Reshapes positions and channels together, in the order of the elements.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 4, 16), variance=2.0)
    >>> y = fixinit.theory.calculus.rearrange(x, (4, 4, 2, 8))  # heads
    >>> y.shape, y.total_channels, y.mean_square
    ((4, 4, 2), 8, 2.0)

    Args:
        x: `fixinit.theory.Moments`.
        shape: Sequence of ints, `(*space, channels)`, of as many elements.

    Returns:
        `Moments` of that shape.
    """
    shape = check_known_shape("shape", shape, (8, 8, 16))
    if not shape or math.prod(shape) != math.prod(x.shape) * x.total_channels:
        raise ValueError(
            "Argument `shape` must hold as many elements as `x`. Received: "
            f"shape={shape} for {(*x.shape, x.total_channels)}"
        )
    *space, channels = shape
    inside = [n for n in space if n != 1]
    x = reshape(x, [n for n in x.shape if n != 1])
    if channels != x.total_channels:
        x = _traded(x, _apart(x.shape, tuple(inside)), channels)
    return reshape(regroup(x, inside), space)


def _apart(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """How many axes in front hold the same positions before and after."""
    ends = {math.prod(after[:j]) for j in range(len(after) + 1)}
    whole = range(len(before) + 1)
    return max(i for i in whole if math.prod(before[:i]) in ends)


def _traded(x: Moments, apart: int, channels: int) -> Moments:
    """`x` with another number of channels, at the expense of its last positions.

    Args:
        x: `Moments`.
        apart: int. How many axes in front are no part of it.
        channels: int.
    """
    front, total = x.shape[:apart], x.total_channels
    count = math.prod(x.shape[apart:])
    if total % channels == 0:
        return channels_to_axis(x, total // channels)
    if channels % total == 0 and count % (channels // total) == 0:
        taken = channels // total
    else:
        taken = count
    rest = [count // taken] if taken < count else []
    x = axis_to_channels(regroup(x, (*front, *rest, taken)))
    if x.total_channels == channels:
        return x
    return channels_to_axis(x, x.total_channels // channels)


@checked
def transpose(x: Moments, order: Sequence[int]) -> Moments:
    """Transposes spatial axes and channels.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 6, 16))
    >>> y = fixinit.theory.calculus.transpose(x, [2, 0, 1])
    >>> y.shape, y.total_channels
    ((16, 4), 6)

    Args:
        x: `fixinit.theory.Moments`.
        order: Sequence of ints, the axes in their new order, counted from 0 without the
            batch; the channels are the last one.

    Returns:
        `Moments` of that order.
    """
    rank = len(x.shape)
    order = list(check_entries("order", order, rank + 1, each=True))
    if order[-1] != rank:
        axis = order[-1]
        kept = [i for i in range(rank) if i != axis]
        x = exchange(permute(x, [*kept, axis]))
        # Now the axes are those that were kept, and the former channels.
        order = [(kept + [rank]).index(i) for i in order[:-1]]
    else:
        order = order[:-1]
    return permute(x, order) if order != sorted(order) else x


def exchange(x: Moments) -> Moments:
    """Exchanges the channels and the last spatial axis.

    Args:
        x: `fixinit.theory.Moments` with at least one spatial axis.
    """
    *front, count = x.shape
    counts = np.round(positions.position_weights(count) * count).astype(int)
    total, shape = x.total_channels, (*front, x.total_channels)
    m = positions.size(count)
    weights, backward = _by_position(x, total)
    means = np.moveaxis(x.mean, -1, 0)  # (positions, groups, *front)
    mean = np.moveaxis(np.tensordot(weights, means, (1, 1)), 0, -1)
    same, cross = _apart_from_means(x, mean, shape, weights, m)
    y = Moments(shape, counts, mean, same, cross, x.sources)

    def pull(g: np.ndarray) -> list[np.ndarray]:
        # (positions, *front, channels) to (groups, *front, positions)
        return [np.moveaxis(np.tensordot(g, backward, (-1, 1)), (0, -1), (-1, 0))]

    y.node.link((x,), pull)
    if x.latent and len(x.channels) == 1:
        y.latent = exchange(x.latent[0]), x.latent[1]
    return _united(y)


def _apart_from_means(
    x: Moments, mean: np.ndarray, shape: Sequence[int], weights: np.ndarray, m: int
) -> list[np.ndarray]:
    """Pairs of positions of which the last axis was channels, `same` and `cross`."""
    size, found = len(weights), []
    for values in (x.same, x.cross):
        own = np.moveaxis(values[..., :: m + 1], -1, 0)
        pairs = outer(mean, shape)
        pairs[..., :: size + 1] = np.moveaxis(np.tensordot(weights, own, (1, 1)), 0, -1)
        found.append(pairs)
    return found


def channels_to_axis(x: Moments, count: int) -> Moments:
    """Splits the channels: the first factor becomes a spatial axis, the last one.

    Args:
        x: `fixinit.theory.Moments`.
        count: int, the size of the new axis, which divides the channels.
    """
    shape, size = (*x.shape, count), positions.size(count)
    weights, backward = _by_position(x, count)
    mean = np.moveaxis(np.tensordot(weights, x.mean, (1, 0)), 0, -1)[None]
    found = []
    for values in (x.same, x.cross):
        pairs = outer(mean, shape)
        pairs[0, ..., :: size + 1] = np.moveaxis(
            np.tensordot(weights, values, (1, 0)), 0, -1
        )
        found.append(pairs)
    same, cross = found
    y = Moments(shape, [x.total_channels // count], mean, same, cross, x.sources)

    def pull(g: np.ndarray) -> list[np.ndarray]:
        return [np.moveaxis(np.tensordot(g[0], backward, (-1, 1)), -1, 0)]

    y.node.link((x,), pull)
    if x.latent and len(x.channels) == 1:
        y.latent = channels_to_axis(x.latent[0], count), x.latent[1]
    return y


def axis_to_channels(x: Moments) -> Moments:
    """Makes the last spatial axis the first factor of the channels.

    Args:
        x: `fixinit.theory.Moments` with at least one spatial axis.
    """
    *front, count = x.shape
    counts = np.round(positions.position_weights(count) * count)
    m, groups = positions.size(count), len(x.channels)
    channels = np.multiply.outer(counts, x.channels).ravel().astype(int)

    def by_position(values: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(values, -1, 0)
        return moved.reshape(m * groups, *moved.shape[2:])

    same, cross = (by_position(v[..., :: m + 1]) for v in (x.same, x.cross))
    y = Moments(front, channels, by_position(x.mean), same, cross, x.sources)

    def pull(g: np.ndarray) -> list[np.ndarray]:
        return [np.moveaxis(g.reshape(m, groups, *g.shape[1:]), 0, -1)]

    y.node.link((x,), pull)
    if x.latent:
        y.latent = axis_to_channels(x.latent[0]), x.latent[1]
    return _united(y)


def _by_position(x: Moments, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which groups the positions hold that channels become.

    Returns:
        Two arrays: the share of every group in a position, `(positions, groups)`, and
        the share of a group that stands at a position, `(groups, positions)`.
    """
    m, size = positions.size(count), x.total_channels // count
    groups = len(x.channels)
    if groups == 1:
        return np.ones((m, 1)), positions.position_weights(count)[None]
    ends = np.cumsum(x.channels)
    lows = np.arange(count)[:, None] * size
    inside = np.minimum(lows + size, ends) - np.maximum(lows, ends - x.channels)
    inside = np.maximum(inside, 0.0)
    classes = np.diag(positions.pair_classes(count)) // (m + 1)
    held = np.zeros((m, groups))
    np.add.at(held, classes, inside)
    shares = held / held.sum(axis=1, keepdims=True)
    return shares, (held / x.channels).T


def _united(y: Moments) -> Moments:
    """`y` with one group, where all groups have the same moments."""
    if len(y.channels) == 1 or not all(
        np.allclose(values, values[:1], rtol=_ROUNDING, atol=0.0)
        for values in (y.mean, y.same, y.cross)
    ):
        return y
    one = Moments(
        y.shape, [y.total_channels], y.mean[:1], y.same[:1], y.cross[:1], y.sources
    )
    into = y.mean.shape
    one.node.link((y,), lambda g: [np.broadcast_to(g, into)])
    if y.latent:
        one.latent = _united(y.latent[0]), y.latent[1]
        if len(one.latent[0].channels) > 1:
            one.latent = None
    return one
