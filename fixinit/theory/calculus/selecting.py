"""Selection of positions and channels, and values side by side along an axis."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_entries, check_integer, check_sequence
from fixinit.theory.calculus.alignment import check_any
from fixinit.theory.calculus.joining import add
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.sources import part_of
from fixinit.theory.calculus.space import spatial
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError

# Groups of channels in an order of their own; more are sorted.
_MOST_RUNS = 64


@dataclasses.dataclass(frozen=True)
class View:
    """Where the positions of a tensor stand in another one.

    Attributes:
        of: `Moments`, the other tensor.
        axis: int, the spatial axis.
        indices: Tuple of ints, the positions there.
    """

    of: Moments
    axis: int
    indices: tuple[int, ...]


@checked
def select(x: Moments, axis: int, indices: Sequence[int]) -> Moments:
    """Takes some of the positions of one spatial axis, in any order.

    Moments of pairs are those of the positions that are taken; gradients go back to
    these.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 6, 16))
    >>> fixinit.theory.calculus.select(x, 1, range(0, 6, 2)).shape
    (4, 3)

    Args:
        x: `fixinit.theory.Moments`.
        axis: int, the spatial axis, counted from 0.
        indices: Sequence of at least one int in `[0, size of the axis)`.

    Returns:
        `Moments` of the same channels.
    """
    check_entries("axis", [axis], len(x.shape))
    chosen = check_entries("indices", indices, x.shape[axis])
    if chosen == tuple(range(x.shape[axis])):
        return x
    windows = [Window.at(n, tuple(range(n))) for n in x.shape]
    windows[axis] = Window.at(x.shape[axis], chosen)
    y = spatial(x, windows)
    root, place = x, chosen
    if x.view is not None and x.view.axis == axis:
        root, place = x.view.of, tuple(x.view.indices[i] for i in chosen)
    y.view = View(root, axis, place)
    return y


@checked
def select_channels(x: Moments, indices: Sequence[int]) -> Moments:
    """Takes some of the channels, in any order.

    Two selections without a common channel are drawn from different weights, and may
    be added and multiplied.

    Example:

    >>> x = fixinit.theory.Moments.inputs((16,), variance=2.0)
    >>> a, b = (
    ...     fixinit.theory.calculus.select_channels(x, range(i, i + 8)) for i in (0, 8)
    ... )
    >>> fixinit.theory.calculus.multiply([a, b]).mean_square
    4.0

    Args:
        x: `fixinit.theory.Moments`.
        indices: Sequence of at least one int in `[0, x.total_channels)`.

    Returns:
        `Moments` of the same positions.
    """
    chosen = np.asarray(check_entries("indices", indices, x.total_channels))
    total = x.total_channels
    if len(chosen) == total and np.array_equal(chosen, np.arange(total)):
        return x
    group = np.searchsorted(np.cumsum(x.channels), chosen, side="right")
    if np.count_nonzero(np.diff(group)) >= _MOST_RUNS:
        group = np.sort(group)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    counts = np.diff(starts, append=len(group))
    sources = frozenset(part_of(s, chosen, total) for s in x.sources)
    return _of_groups(x, group[starts], counts, sources)


def _of_groups(
    x: Moments, groups: np.ndarray, counts: np.ndarray, sources: frozenset[Any]
) -> Moments:
    """Channels of some of the groups of `x`, so many of each."""
    y = Moments(
        x.shape, counts, x.mean[groups], x.same[groups], x.cross[groups], sources
    )
    shares = (counts / x.channels[groups]).reshape(-1, *(1,) * len(x.shape))
    into = x.mean.shape

    def pull(g: np.ndarray) -> list[np.ndarray]:
        result = np.zeros(into)
        np.add.at(result, groups, g * shares)
        return [result]

    y.node.link((x,), pull)
    if x.latent:
        y.latent = _of_groups(x.latent[0], groups, counts, sources), x.latent[1]
    return y


@checked
def concatenate_space(xs: Sequence[Moments], axis: int) -> Moments:
    """Concatenates values along a spatial axis.

    Values from different weights are uncorrelated between their positions. Selections
    of one tensor along this axis keep its correlations.

    Example:

    >>> a, b = (fixinit.theory.Moments.inputs((n, 16)) for n in (1, 8))
    >>> fixinit.theory.calculus.concatenate_space([a, b], axis=0).shape
    (9,)

    Args:
        xs: Sequence of `fixinit.theory.Moments` of the same channels.
        axis: int, the spatial axis, counted from 0.

    Returns:
        `Moments` of as many positions as all of them.

    Raises:
        Dependent: If values depend on the same weights in different ways.
        NoRuleError: If the values differ in other axes.
    """
    check_any(xs)
    for x in xs:
        check_entries("axis", [axis], len(x.shape))
    others = {
        (*x.shape[:axis], *x.shape[axis + 1 :], x.total_channels, len(x.shape))
        for x in xs
    }
    if len(others) > 1:
        raise NoRuleError(
            f"Values that are concatenated along the spatial axis {axis} must agree in "
            f"all others. Received: {[(*x.shape, x.total_channels) for x in xs]}"
        )
    views = [x.view for x in xs]
    first = views[0]
    if first is not None and all(
        v is not None and v.of is first.of and v.axis == axis for v in views
    ):
        joined = sum((v.indices for v in views if v is not None), ())
        return select(first.of, axis, joined)
    total, start, padded = sum(x.shape[axis] for x in xs), 0, []
    for x in xs:
        padded.append(zero_pad(x, {axis: (start, total - start - x.shape[axis])}))
        start += x.shape[axis]
    return add(padded)


@checked
def zero_pad(x: Moments, sides: dict[int, tuple[int, int]]) -> Moments:
    """Pads spatial axes with zeros; crops where a number is negative.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> y = fixinit.theory.calculus.zero_pad(x, {0: (1, 1)})
    >>> y.shape, round(y.mean_square, 9)  # 8 / 10
    ((10, 8), 0.8)

    Args:
        x: `fixinit.theory.Moments`.
        sides: Dict from spatial axes, counted from 0, to `(before, after)`.

    Returns:
        `Moments` of the same channels.
    """
    for axis, side in sides.items():
        check_entries("sides", [axis], len(x.shape))
        check_entries("sides", [len(check_sequence("sides", side, (1, 1))) - 2], 1)
        for number in side:
            check_integer("sides", number)
    if not any(any(side) for side in sides.values()):
        return x
    windows = []
    for axis, n in enumerate(x.shape):
        low, high = sides.get(axis, (0, 0))
        windows.append(Window.gather(n, -low, n + low + high))
    return spatial(x, windows)
