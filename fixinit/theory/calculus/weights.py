"""Weights that are drawn anew: dense layers and convolutions."""

from collections.abc import Sequence

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_size, check_variance
from fixinit.theory.calculus.drawn import Drawn
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, outer, second
from fixinit.theory.calculus.space import back, check_windows, taps
from fixinit.theory.calculus.windows import Window


@checked
def mix(
    x: Moments,
    windows: Sequence[Window],
    filters: int,
    weight: tuple[float, float],
    groups: int = 1,
    bias: tuple[float, float] = (0.0, 0.0),
    product: float | None = None,
) -> Moments:
    """Mixes all channels with weights of its own: a dense layer or a convolution.

    For weights of mean 0 and variance s over fan_in channels, pairs add up by the taps
    of the window: `E[y y'] = s * fan_in * sum_t E[x_t x'_t]`. Gradients go back with
    `s * filters / groups`, by the transposed taps. Weights with a mean add up over
    channels and taps.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,))
    >>> fixinit.theory.calculus.mix(x, [], filters=50, weight=(0.0, 0.02)).mean_square
    2.0

    Args:
        x: `fixinit.theory.Moments`.
        windows: Sequence of `fixinit.theory.calculus.Window`, one per spatial axis;
            empty for a dense layer.
        filters: int. Number of output channels.
        weight: `(mean, variance)` of one weight.
        groups: int. How many parts the channels are convolved in; 1 by default.
        bias: `(mean, variance)` of one bias; `(0, 0)` by default.
        product: float, the expected product of two weights of one unit; by default that
            of independent ones, `mean^2`.

    Returns:
        `Moments` of `filters` channels.
    """
    check_size("filters", filters)
    check_size("groups", groups)
    if windows:
        check_windows(x, windows)
    for name, moments in (("weight", weight), ("bias", bias)):
        check_variance(f"{name}[1]", moments[1])
    fan = x.total_channels / groups
    square = weight[0] ** 2 + weight[1]
    product = weight[0] ** 2 if product is None else product
    shares = x.shares
    same, cross = (
        square * fan * taps(_over_channels(shares, values), windows, "same_tap")
        for values in (x.same, x.cross)
    )
    mean = weight[0] * fan * taps(_over_channels(shares, x.mean), windows, "mean")
    if product:
        means = outer(_over_channels(shares, x.mean), x.shape)
        for values, out in ((x.same, same), (x.cross, cross)):
            pairs = _over_channels(shares, values)
            own = fan * (
                taps(pairs, windows, "all_taps") - taps(pairs, windows, "same_tap")
            )
            others = fan * (fan - 1) * taps(means, windows, "all_taps")
            out += product * (own + others)
    shape = [window.outputs for window in windows] if windows else x.shape
    drift = _bias_drift(mean, shape, bias)
    sources = frozenset([Drawn(x.node.serial, x.total_channels)])
    if weight[0]:
        sources |= x.sources
    y = Moments(shape, [filters], mean + bias[0], same + drift, cross + drift, sources)
    gain, copies = square * filters / groups, len(shares)
    y.node.link((x,), lambda g: [np.repeat(gain * back(g, windows), copies, axis=0)])
    return y


@checked
def depthwise(
    x: Moments,
    windows: Sequence[Window],
    multiplier: int,
    weight: tuple[float, float],
    bias: tuple[float, float] = (0.0, 0.0),
    product: float | None = None,
) -> Moments:
    """Convolves every channel by itself, with weights of its own.

    For weights of mean 0 and variance s, `E[y y'] = s * sum_t E[x_t x'_t]`; gradients
    go back with `s * multiplier`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> window = fixinit.theory.calculus.Window.convolution(8, kernel=3)
    >>> y = fixinit.theory.calculus.depthwise(x, [window] * 2, 2, weight=(0.0, 0.5))
    >>> y.shape, y.total_channels, y.mean_square  # nine taps
    ((6, 6), 32, 4.5)

    Args:
        x: `fixinit.theory.Moments`.
        windows: Sequence of `fixinit.theory.calculus.Window`, one per spatial axis.
        multiplier: int. Number of outputs of every channel.
        weight: `(mean, variance)` of one weight.
        bias: `(mean, variance)` of one bias; `(0, 0)` by default.
        product: float, see `mix`.

    Returns:
        `Moments` of `multiplier` times as many channels.
    """
    check_size("multiplier", multiplier)
    check_windows(x, windows)
    for name, moments in (("weight", weight), ("bias", bias)):
        check_variance(f"{name}[1]", moments[1])
    common = weight[0] ** 2 if product is None else product
    varying = weight[0] ** 2 + weight[1] - common

    def pairs(values: np.ndarray) -> np.ndarray:
        result = varying * taps(values, windows, "same_tap")
        if common:
            result = result + common * taps(values, windows, "all_taps")
        return result

    mean = weight[0] * taps(x.mean, windows, "mean")
    shape = [window.outputs for window in windows]
    drift = _bias_drift(mean, shape, bias)
    y = Moments(
        shape,
        x.channels * multiplier,
        mean + bias[0],
        pairs(x.same) + drift,
        pairs(x.cross) + drift,
        frozenset([object()]) | (x.sources if weight[0] else frozenset()),
    )
    gain = (varying + common) * multiplier
    y.node.link((x,), lambda g: [gain * back(g, windows)])
    return y


def _bias_drift(
    mean: np.ndarray, shape: Sequence[int], bias: tuple[float, float]
) -> np.ndarray | float:
    """The contribution of a bias to the moments of pairs."""
    if not any(bias):
        return 0.0
    means = first(mean, shape) + second(mean, shape)
    return bias[0] ** 2 + bias[1] + bias[0] * means


def _over_channels(shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    if len(shares) == 1:
        return values
    return np.tensordot(shares, values, (0, 0))[None]
