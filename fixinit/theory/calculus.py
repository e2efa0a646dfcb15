"""What layers do to moments, and what that does to gradients on the way back.

Every function takes and returns `Moments`, and leaves in its result what takes the mean
square of a gradient back to its inputs. Gradients are taken to be independent of the
activations, and uncorrelated between positions.

Example:

>>> x = fixinit.theory.Moments.inputs((100,))
>>> dense = fixinit.theory.calculus.mix(x, [], filters=50, weight=(0.0, 0.02))
>>> dense.mean_square
2.0
"""

import numpy as np

from fixinit.theory import positions
from fixinit.theory.functions import compose, product, total
from fixinit.theory.moments import Moments, along, diagonal, first, second, set_diagonal
from fixinit.theory.piecewise import PiecewiseLinear


class Dependent(ValueError):
    """Values that are joined have drawn from the same weights."""


def apply(x, function):
    """An element-wise function of `x`.

    Exact where x is Gaussian, or a function of something Gaussian. Otherwise x is
    taken to be Gaussian of its moments.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,))
    >>> relu = fixinit.theory.activation("relu")
    >>> y = fixinit.theory.calculus.apply(x, relu)
    >>> round(y.mean_square, 9), round(y.mean_value, 9), round(y.correlation, 9)
    (0.5, 0.39894228, 0.318309886)
    """
    if x.parts:
        return by_parts(x, lambda part: apply(part, function), lambda y: y.outer_slope)
    base, inner = x.latent or (x, None)
    composed = function if inner is None else compose(function, inner)
    y = _of_gaussian(base, composed)
    if isinstance(composed, PiecewiseLinear) and composed.is_linear:
        y.latent = None if base.latent is None else (base, composed)
    else:
        y.latent = (base, composed)
    slope = y.outer_slope = y.slope
    if inner is None:
        y.node.link((x,), lambda g: [slope * g])
    else:
        # What the outer function does is part of both; it goes back only once.
        outer = y.outer_slope = slope / np.maximum(x.slope, 1e-300)
        y.node.link((x, base), lambda g: [Reported(outer * g), slope * g])
    return y


class Reported(np.ndarray):
    """A gradient that is known here, and goes back another way."""

    def __new__(cls, values):
        return np.asarray(values).view(cls)


def _of_gaussian(x, function):
    """`function` of Gaussian values with the moments of `x`."""
    shape = x.shape
    variance = np.maximum(x.squares - x.mean**2, 0.0)
    # What rounding leaves of a difference is no variance.
    variance = np.where(variance < 1e-14 * x.squares, 0.0, variance)
    deviation = np.sqrt(variance)
    mean, square, slope = function.moments(x.mean, variance)
    half, whole = positions.half_of_pairs(shape)

    def pairs(values):
        return values.reshape(len(values), -1)[:, half]

    means = pairs(first(x.mean, shape)), pairs(second(x.mean, shape))
    deviations = pairs(first(deviation, shape)), pairs(second(deviation, shape))
    scale = np.maximum(deviations[0] * deviations[1], 1e-300)
    covariance = np.stack([pairs(x.same), pairs(x.cross)]) - means[0] * means[1]
    correlation = np.clip(covariance / scale, -1, 1)
    joint = function.joint_moment(means, deviations, correlation)
    same, cross = joint[..., whole].reshape(2, *x.same.shape)
    y = x.like(mean, set_diagonal(same, shape, square), cross)
    y.slope = slope
    return y


def scale(x, factor, shift=0.0):
    """`factor * x + shift` with constants."""
    return apply(x, PiecewiseLinear((), [factor], [shift]))


def randomly_scale(x, factor=(1.0, 0.0), shift=(0.0, 0.0)):
    """`a * x + b` with a and b drawn per channel, of given means and variances."""
    if factor[1] == 0 and shift[1] == 0:
        if (factor[0], shift[0]) == (1.0, 0.0):
            return x
        return scale(x, factor[0], shift[0])
    square = factor[0] ** 2 + factor[1]
    offset = shift[0] ** 2 + shift[1]
    means = first(x.mean, x.shape) + second(x.mean, x.shape)
    drift = factor[0] * shift[0] * means + offset
    y = x.like(
        factor[0] * x.mean + shift[0], square * x.same + drift, square * x.cross + drift
    )
    y.node.link((x,), lambda g: [square * g])
    return y


def mix(x, windows, filters, weight, groups=1, bias=(0.0, 0.0)):
    """A convolution or dense layer: fresh weights mix all channels.

    Args:
        x: `Moments`.
        windows: List of `positions.Window`, one per spatial axis.
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


def spatial(x, windows):
    """Fixed coefficients along the spatial axes: average pooling, padding, cropping."""
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
        y.slope = taps(x.slope, windows, "mean")
    return y


def global_average(x, keepdims=False):
    """The average over all positions."""
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


def flatten(x):
    """All positions become channels."""
    if not x.shape:
        return x
    weights = np.ones(1)
    for n in x.shape:
        counts = np.round(positions.position_weights(n) * n)
        weights = np.multiply.outer(weights, counts)
    channels = np.multiply.outer(x.channels, weights[0]).reshape(-1)
    columns = (
        values.reshape(-1) for values in (x.mean, x.squares, diagonal(x.cross, x.shape))
    )
    y = Moments((), channels, *columns, x.sources)
    into = x.mean.shape
    y.node.link((x,), lambda g: [g.reshape(into)])
    return y


def reshape(x, shape):
    """Axes of length 1 come and go; the channels stay."""
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


def permute(x, order):
    """Spatial axes in another order."""
    axes = (0, *(i + 1 for i in order))
    back_axes = np.argsort(axes)
    y = Moments(
        [x.shape[i] for i in order],
        x.channels,
        *(np.transpose(values, axes) for values in (x.mean, x.same, x.cross)),
        x.sources,
    )
    y.node.link((x,), lambda g: [np.transpose(g, back_axes)])
    return y


def merge_space(x, shape):
    """Spatial axes become fewer. What pairs have in common is averaged over space."""
    equal = x.average(x.squares)
    count = np.prod(x.shape)

    def pairs(values):
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


def unflatten(x, shape):
    """Channels become positions: each position gets channels of its own."""
    *space, channels = shape
    mean = float(x.shares @ x.mean)
    y = Moments.inputs((*space, channels), mean, 0.0)
    set_diagonal(y.same, space, x.mean_square)
    set_diagonal(y.cross, space, float(x.shares @ x.cross))
    y.sources = x.sources
    into, average = x.mean.shape, y.average
    y.node.link((x,), lambda g: [np.full(into, float(average(g)[0]))])
    return y


def concatenate(xs):
    """Channels side by side."""
    y = Moments(
        xs[0].shape,
        np.concatenate([x.channels for x in xs]),
        *(
            np.concatenate([getattr(x, name) for x in xs])
            for name in ("mean", "same", "cross")
        ),
        frozenset().union(*(x.sources for x in xs)),
    )
    if any(x.latent or x.parts for x in xs):
        y.parts = [part for x in xs for part in x.parts or [x]]
    ends = np.cumsum([len(x.channels) for x in xs])[:-1]
    y.node.link(xs, lambda g: np.split(g, ends))
    return y


def by_parts(x, function, slope=None):
    """A function of each of the parts that `x` was concatenated of.

    Args:
        slope: Callable from the resulting `Moments` to what gradients at `x` are
            multiplied by.
    """
    parts = [function(part) for part in x.parts]
    y = concatenate(parts)
    split = y.node.pull
    if slope is not None:
        factor = np.concatenate([slope(part) for part in parts])
        y.node.link((x, *parts), lambda g: [Reported(factor * g), *split(g)])
    return y


def add(xs, factors=None):
    """The sum of values that were drawn from different weights."""
    factors = factors or [1.0] * len(xs)
    if len(xs) == 1:
        return xs[0] if factors[0] == 1 else scale(xs[0], factors[0])
    joined = _same_latent(xs)
    if joined:
        base, functions = joined
        scaled = [
            compose(PiecewiseLinear((), [c], [0.0]), f)
            for c, f in zip(factors, functions, strict=True)
        ]
        return apply(base, _reduced(total, scaled))
    zero = [c == 0 or not np.any(x.same) for x, c in zip(xs, factors, strict=True)]
    shapes = {x.shape for x in xs}
    if sum(not z for z in zero) <= 1 and len(shapes) == 1:
        return _only(xs, factors, zero)
    check_independent(xs)
    xs = aligned(xs)
    mean = sum(c * x.mean for c, x in zip(factors, xs, strict=True))
    shape = xs[0].shape
    together = first(mean, shape) * second(mean, shape)

    def pairs(name):
        # Deviations from the means are uncorrelated.
        return together + sum(
            c**2 * (getattr(x, name) - first(x.mean, shape) * second(x.mean, shape))
            for c, x in zip(factors, xs, strict=True)
        )

    sources = frozenset().union(*(x.sources for x in xs))
    y = Moments(shape, xs[0].channels, mean, pairs("same"), pairs("cross"), sources)
    y.node.link(xs, lambda g: [c**2 * g for c in factors])
    return y


def _only(xs, factors, zero):
    """A sum with at most one term that is not zero: that term, which keeps its law."""
    index = zero.index(False) if False in zero else 0
    term = xs[index]
    y = copied(term) if factors[index] == 1 else scale(term, factors[index])
    parents, pull = y.node.parents, y.node.pull
    others = [
        (x.node, c**2)
        for i, (x, c) in enumerate(zip(xs, factors, strict=True))
        if i != index and len(x.channels) == len(term.channels)
    ]
    squares = [square for _, square in others]
    y.node.parents = (*parents, *(node for node, _ in others))
    y.node.pull = lambda g: [*pull(g), *(c * g for c in squares)]
    return y


def copied(x):
    """The same values as a tensor of its own."""
    y = x.like(x.mean, x.same, x.cross)
    y.latent, y.parts = x.latent, x.parts
    y.node.link((x,), lambda g: [g])
    if x.latent:
        y.slope = x.slope
    return y


def multiply(xs):
    """The product of values that were drawn from different weights."""
    joined = _same_latent(xs)
    if joined:
        base, functions = joined
        return apply(base, _reduced(product, functions))
    check_independent(xs)
    xs = aligned(xs)
    y = xs[0].like(
        *(
            np.prod([getattr(x, name) for x in xs], axis=0)
            for name in ("mean", "same", "cross")
        ),
        frozenset().union(*(x.sources for x in xs)),
    )
    squares = [x.squares for x in xs]
    y.node.link(
        xs,
        lambda g: [
            g * np.prod([s for j, s in enumerate(squares) if j != i], axis=0)
            for i in range(len(squares))
        ],
    )
    return y


def maximum(xs, sign=1.0):
    """The larger of values that were drawn from different weights, taken as Gaussian.

    `max(u, v) = (u + v) / 2 + |u - v| / 2`, and the two halves are jointly Gaussian.
    `sign=-1` gives the smaller.
    """
    if len(xs) > 2:
        return maximum([maximum(xs[:2], sign), *xs[2:]], sign)
    check_independent(xs)
    u, v = aligned(xs)
    shape = u.shape
    half = add([u, v], [0.5, 0.5])
    difference = add([u, v], [0.5, -0.5])
    rectified = _of_gaussian(difference, PiecewiseLinear([0.0], [-1.0, 1.0]))
    deviation = np.sqrt(np.maximum(difference.squares - difference.mean**2, 1e-300))
    odd = PiecewiseLinear([0.0], [0.0, 0.0], [-1.0, 1.0])
    sign_mean = odd.moments(difference.mean, deviation**2)[0] * sign
    means = half.mean, sign * rectified.mean

    def pairs(name):
        a, b = (
            getattr(x, name) - first(x.mean, shape) * second(x.mean, shape)
            for x in (u, v)
        )
        shared = (a - b) / 4  # the covariance of the sum and the difference
        mixed = (
            first(means[0], shape) * second(means[1], shape)
            + first(means[1], shape) * second(means[0], shape)
            + shared * (first(sign_mean, shape) + second(sign_mean, shape))
        )
        return getattr(half, name) + getattr(rectified, name) + mixed

    y = u.like(
        means[0] + means[1], pairs("same"), pairs("cross"), u.sources | v.sources
    )
    first_wins = (1 + sign_mean) / 2
    y.node.link((u, v), lambda g: [first_wins * g, (1 - first_wins) * g])
    return y


def _reduced(function, functions):
    result = functions[0]
    for following in functions[1:]:
        result = function(result, following)
    return result


def _same_latent(xs):
    """`(base, functions)` if all values are functions of one Gaussian tensor."""
    identity = PiecewiseLinear()
    latents = [x.latent or (x, identity) for x in xs]
    base = latents[0][0]
    if all(b is base for b, _ in latents):
        return base, [f for _, f in latents]
    return None


def check_independent(xs):
    """Refuses values that have drawn from the same weights."""
    seen = set()
    for x in xs:
        if seen & x.sources and np.any(x.same):
            raise Dependent(
                "joins values that depend on the same weights in different ways, whose "
                "covariance is not known"
            )
        seen |= x.sources


def aligned(xs):
    """Broadcasts values against each other, and splits them into the same groups."""
    xs = [_broadcast(x, xs) for x in xs]
    whole = max(x.total_channels for x in xs)
    ends = sorted({int(e) for x in xs for e in np.cumsum(x.channels)} | {whole})
    counts = np.diff([0, *ends])
    return [_split(x, counts, np.array(ends)) for x in xs]


def _broadcast(x, xs):
    shape = tuple(max(sizes) for sizes in zip(*(y.shape for y in xs), strict=True))
    if x.shape == shape:
        return x
    windows = [
        positions.Window.gather(n, 0, out, repeat=out if n == 1 else 1)
        for n, out in zip(x.shape, shape, strict=True)
    ]
    y = spatial(x, windows)
    return y


def _split(x, counts, ends):
    if len(counts) == len(x.channels):
        return x
    if x.total_channels == 1:
        index = np.zeros(len(counts), int)
    else:
        index = np.searchsorted(np.cumsum(x.channels), ends)
    y = Moments(
        x.shape, counts, x.mean[index], x.same[index], x.cross[index], x.sources
    )
    if x.latent:
        y.latent = (_split(x.latent[0], counts, ends), x.latent[1])
        y.slope = x.slope[index]
    into = x.mean.shape
    shares = (counts / x.channels[index]).reshape(-1, *(1,) * len(x.shape))

    def pull(g):
        result = np.zeros(into)
        np.add.at(result, index, g * shares)
        return [result]

    y.node.link((x,), pull)
    return y


def _over_channels(shares, values):
    if len(shares) == 1:
        return values
    return np.tensordot(shares, values, (0, 0))[None]


def taps(values, windows, kind):
    for axis, window in enumerate(windows):
        values = along(getattr(window, kind), values, axis + 1)
    return values


def back(g, windows):
    """The mean square of a gradient at the input positions of windows."""
    for axis, window in enumerate(windows):
        g = along(window.backward, g, axis + 1)
    return g
