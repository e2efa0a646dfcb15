"""Fresh weights: convolutions and dense layers."""

import numpy as np

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second
from fixinit.theory.calculus.space import back, taps


def mix(x, windows, filters, weight, groups=1, bias=(0.0, 0.0)):
    """A convolution or dense layer: fresh weights mix all channels.

    Args:
        x: `Moments`.
        windows: List of `Window`, one per spatial axis.
        filters: int. Number of output channels.
        weight: `(mean, variance)` of one weight.
        groups: int. How many parts the channels are convolved in.
        bias: `(mean, variance)` of one bias.
    """
    fan = x.total_channels / groups
    square = weight[0] ** 2 + weight[1]
    shares = x.shares
    same, cross = (
        square * fan * taps(_over_channels(shares, values), windows, "same_tap")
        for values in (x.same, x.cross)
    )
    mean = weight[0] * fan * taps(_over_channels(shares, x.mean), windows, "mean")
    if weight[0]:
        # Weights with a mean add up over channels and taps.
        means = _over_channels(shares, x.mean)
        for values, out in ((x.same, same), (x.cross, cross)):
            pairs = _over_channels(shares, values)
            together = first(means, x.shape) * second(means, x.shape)
            own = fan * (
                taps(pairs, windows, "all_taps") - taps(pairs, windows, "same_tap")
            )
            others = fan * (fan - 1) * taps(together, windows, "all_taps")
            out += weight[0] ** 2 * (own + others)
    shape = [window.outputs for window in windows] if windows else x.shape
    drift = 0.0
    if any(bias):
        drift = bias[0] ** 2 + bias[1]
        pair_means = first(mean, shape) + second(mean, shape)
        drift = drift + bias[0] * pair_means
    sources = frozenset([object()])
    if weight[0]:
        sources |= x.sources
    y = Moments(shape, [filters], mean + bias[0], same + drift, cross + drift, sources)
    gain, copies = square * filters / groups, len(shares)
    y.node.link((x,), lambda g: [np.repeat(gain * back(g, windows), copies, axis=0)])
    return y


def depthwise(x, windows, multiplier, weight, bias=(0.0, 0.0)):
    """A depthwise convolution: fresh weights for every channel."""
    varying, common = weight[1], weight[0] ** 2

    def pairs(values):
        result = (varying + 0.0) * taps(values, windows, "same_tap")
        if common:
            result = result + common * taps(values, windows, "all_taps")
        return result

    mean = weight[0] * taps(x.mean, windows, "mean")
    shape = [window.outputs for window in windows]
    drift = bias[0] ** 2 + bias[1]
    drift = drift + bias[0] * (first(mean, shape) + second(mean, shape))
    y = Moments(
        shape,
        x.channels * multiplier,
        mean + bias[0],
        pairs(x.same) + drift,
        pairs(x.cross) + drift,
        frozenset([object()]) | (x.sources if common else frozenset()),
    )
    gain = (varying + common) * multiplier
    y.node.link((x,), lambda g: [gain * back(g, windows)])
    return y


def _over_channels(shares, values):
    if len(shares) == 1:
        return values
    return np.tensordot(shares, values, (0, 0))[None]
