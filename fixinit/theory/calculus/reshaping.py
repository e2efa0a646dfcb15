"""Reshaping: axes of size 1 come and go, and all positions become channels."""

from collections.abc import Sequence

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_known_shape
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import diagonal


@checked
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


@checked
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
    shape = check_known_shape("shape", shape, (8, 8))
    if shape == x.shape:
        return x
    if [n for n in shape if n > 1] != [n for n in x.shape if n > 1]:
        raise ValueError(
            "Argument `shape` must be the spatial axes with axes of length 1 more or "
            f"less. Received: shape={shape} for spatial axes {x.shape}"
        )
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
    if x.latent:
        y.latent = reshape(x.latent[0], shape), x.latent[1]
    return y


def repeat_channels(x: Moments, count: int) -> Moments:
    """Repeats all channels, to `count` of them in all.

    Args:
        x: `fixinit.theory.Moments`.
        count: int, a multiple of the channels of `x`.
    """
    times = count // x.total_channels
    if times == 1:
        return x
    y = Moments(x.shape, x.channels * times, x.mean, x.same, x.cross, x.sources)
    y.node.link((x,), lambda g: [times * g])
    return y
