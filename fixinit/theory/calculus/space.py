"""Positions: windows with fixed coefficients, and axes that change."""

from collections.abc import Sequence

import numpy as np

from fixinit._checked import checked
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import along
from fixinit.theory.calculus.windows import Window


@checked
def spatial(x: Moments, windows: Sequence[Window]) -> Moments:
    """Applies fixed coefficients along the spatial axes.

    Average pooling, padding, cropping and repetition: every output is the sum over the
    taps of its window, `E[y y'] = sum_ij c_i c_j E[x_i x_j]` for pairs; gradients go
    back by the transposed sum of `c_i^2`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> window = fixinit.theory.calculus.Window.convolution(8, kernel=2, stride=2)
    >>> y = fixinit.theory.calculus.spatial(x, [window.averaging()] * 2)
    >>> y.shape, y.mean_square  # averages of four independent values
    ((4, 4), 0.25)

    Args:
        x: `fixinit.theory.Moments`.
        windows: Sequence of `fixinit.theory.calculus.Window`, one per spatial axis.

    Returns:
        `Moments` with the windows' outputs as spatial axes.
    """
    check_windows(x, windows)
    y = Moments(
        [window.outputs for window in windows],
        x.channels,
        taps(x.mean, windows, "mean"),
        taps(x.same, windows, "all_taps"),
        taps(x.cross, windows, "all_taps"),
        x.sources,
    )
    y.node.link((x,), lambda g: [back(g, windows)])
    # A function that is 0 at 0 may as well be applied after values were selected.
    if x.latent and all(w.selects for w in windows) and x.latent[1](0.0) == 0:
        base, function = x.latent
        y.latent = spatial(base, windows), function
    return y


@checked
def global_average(x: Moments, keepdims: bool = False) -> Moments:
    """Averages over all positions.

    Moments of pairs are averaged over all pairs; gradients are divided by the square of
    the number of positions.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> fixinit.theory.calculus.global_average(x).mean_square  # 1 / 64
    0.015625

    Args:
        x: `fixinit.theory.Moments`.
        keepdims: bool. Whether the spatial axes stay, with size 1.

    Returns:
        `Moments` without spatial axes, or with axes of size 1.
    """
    count = int(np.prod(x.shape))
    shape = (1,) * len(x.shape) if keepdims else ()
    full = (len(x.channels), *shape)
    y = Moments(
        shape,
        x.channels,
        x.average(x.mean).reshape(full),
        x.pair_average(x.same).reshape(full),
        x.pair_average(x.cross).reshape(full),
        x.sources,
    )
    into = x.mean.shape
    ones = (1,) * len(x.shape)
    y.node.link(
        (x,),
        lambda g: [np.broadcast_to(g.reshape(len(g), *ones) / count**2, into)],
    )
    return y


@checked
def permute(x: Moments, order: Sequence[int]) -> Moments:
    """Transposes the spatial axes.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 6, 16))
    >>> fixinit.theory.calculus.permute(x, [1, 0]).shape
    (6, 4)

    Args:
        x: `fixinit.theory.Moments`.
        order: Sequence of ints, the spatial axes in their new order, counted from 0.

    Returns:
        `Moments` with that order.
    """
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError(
            "Argument `order` must be the spatial axes in another order, counted from "
            f"0. Received: order={order} for spatial axes {x.shape}"
        )
    axes = (0, *(i + 1 for i in order))
    back_axes = np.argsort(axes)
    y = Moments(
        [x.shape[i] for i in order],
        x.channels,
        np.transpose(x.mean, axes),
        np.transpose(x.same, axes),
        np.transpose(x.cross, axes),
        x.sources,
    )
    y.node.link((x,), lambda g: [np.transpose(g, back_axes)])
    if x.latent:
        y.latent = permute(x.latent[0], order), x.latent[1]
    return y


def check_windows(x: Moments, windows: Sequence[Window]) -> None:
    """Refuses windows that are not one for every spatial axis, of its length."""
    sizes = tuple(window.inputs for window in windows)
    if sizes != x.shape:
        raise ValueError(
            "Argument `windows` must be one window for every spatial axis, of its "
            f"length. Received windows on {sizes} for spatial axes {x.shape}"
        )


def taps(values: np.ndarray, windows: Sequence[Window], kind: str) -> np.ndarray:
    """Applies the matrices of windows, one of their attributes, along all axes."""
    for axis, window in enumerate(windows):
        values = along(getattr(window, kind), values, axis + 1)
    return values


def back(g: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """The mean square of a gradient at the input positions of windows."""
    for axis, window in enumerate(windows):
        g = along(window.backward, g, axis + 1)
    return g
