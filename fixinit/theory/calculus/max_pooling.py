"""Max pooling: the maximum over a window of correlated values."""

from collections.abc import Callable, Sequence

import numpy as np

from fixinit._checked import checked
from fixinit.theory.calculus.backward import Node
from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.maxima import Maxima
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import diagonal, outer, set_diagonal
from fixinit.theory.calculus.space import back, check_windows, taps
from fixinit.theory.calculus.windows import Window
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


@checked
def max_pool(x: Moments, windows: Sequence[Window]) -> Moments:
    """Takes the maximum over windows of correlated values.

    The values of a window are taken as `f(g + e_i)`, with `f` the activation in front
    of it, `g` Gaussian and common to the window, and the `e_i` independent of each
    other: their correlation within the window is its average. Given g, the maximum of
    k independent values is known from their distribution function, on a grid.
    Windows that overlap share some of the `e_i`; in another input the same position has
    an `e_i` that is correlated where the activations depend on the position.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> window = fixinit.theory.calculus.Window.convolution(8, kernel=2, stride=2)
    >>> y = fixinit.theory.calculus.max_pool(x, [window, window])
    >>> y.shape, round(y.mean_value, 2)  # of four standard normals
    ((4, 4), 1.03)

    Args:
        x: `fixinit.theory.Moments`.
        windows: Sequence of `fixinit.theory.calculus.Window`, one per spatial axis.

    Returns:
        `Moments` with the windows' outputs as spatial axes.
    """
    check_windows(x, windows)
    if x.parts:
        return by_parts(x, lambda part: max_pool(part, windows))
    base, function = x.latent or (x, PiecewiseLinear())
    centered = [pairs - outer(base.mean, x.shape) for pairs in (base.same, base.cross)]
    size = _outer([window.mean.sum(axis=1) for window in windows])
    shape = [window.outputs for window in windows]
    padding = -np.inf if x.least else float(function(0.0))
    (mean, variance, count), floor = _in_windows(base, padding, windows, size)
    pair_count = outer(count, shape)
    between, across = (taps(c, windows, "all_taps") / pair_count for c in centered)
    # Within a window, without the values' covariance with themselves.
    whole = diagonal(between, shape)
    common = np.where(count > 1, (whole - variance / count) / (1 - 1 / count), variance)
    common = np.clip(np.where(count > 1, common, variance), 0, variance)
    moments = Maxima(function, (mean, common, variance, count, floor), shape)
    shared = _outer([window.shared for window in windows])[None]
    same, cross = (
        moments.pairs(
            covariance, taps(diagonal(pairs, x.shape), windows, "mean") / count, shared
        )
        for covariance, pairs in zip((between, across), centered, strict=True)
    )
    y = Moments(shape, x.channels, moments.mean, same, cross, x.sources)
    set_diagonal(y.same, shape, moments.square)
    _link(y, x, lambda g: back(g / size, windows), moments.slope)
    return y


def _in_windows(
    base: Moments, padding: float, windows: Sequence[Window], size: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Mean, variance and number of the values of each window, and what they exceed."""
    variance = np.maximum(base.squares - base.mean**2, 0)
    # Padding before the layer is no random value, but a bound.
    alive = (variance > 0) | ~np.any(variance > 0)
    count = np.maximum(taps(alive.astype("float64"), windows, "mean"), 1e-12)
    floor = np.where(count < size - 1e-9, padding, -np.inf)
    mean = taps(base.mean * alive, windows, "mean") / count
    return [mean, taps(variance, windows, "mean") / count, count], floor


def _link(
    y: Moments,
    x: Moments,
    route: Callable[[np.ndarray], np.ndarray],
    slope: np.ndarray,
) -> None:
    """Takes gradients from the maxima to the values, past those of an activation."""
    if x.latent is None:
        y.node.link((x,), lambda g: [route(g)])
        return
    node = x.node

    def report(g: np.ndarray) -> list[tuple[Node, np.ndarray, bool]]:
        return [(node, route(g), True)]

    y.node.link((x.latent[0],), lambda g: [route(slope * g)], report)


def _outer(arrays: Sequence[np.ndarray]) -> np.ndarray:
    result = np.ones(())
    for a in arrays:
        result = np.multiply.outer(result, a)
    return result
