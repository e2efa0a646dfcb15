"""Sums, products and maxima of several values."""

import numpy as np

from fixinit.theory.calculus.chains import Step
from fixinit.theory.calculus.elementwise import function_of, of_gaussian, scale
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second
from fixinit.theory.calculus.space import spatial
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian.functions import compose, product, total
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


class Dependent(NoRuleError):
    """Values that are joined have drawn from the same weights."""


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
        return function_of(base, _reduced(total, scaled), xs, lambda u: factors)
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
    y.node.beside = tuple(
        (x.node, c**2)
        for i, (x, c) in enumerate(zip(xs, factors, strict=True))
        if i != index and len(x.channels) == len(term.channels)
    )
    return y


def copied(x):
    """The same values as a tensor of its own."""
    y = x.like(x.mean, x.same, x.cross)
    y.latent, y.parts, y.levels = x.latent, x.parts, x.levels
    if x.latent:
        y.step = Step(y, [x], lambda u: [1.0])
    y.node.link((x,), lambda g: [g])
    return y


def multiply(xs):
    """The product of values that were drawn from different weights."""
    joined = _same_latent(xs)
    if joined:
        base, functions = joined

        def partials(u):
            values = [function(u) for function in functions]
            return [_product(values, without=i) for i in range(len(values))]

        return function_of(base, _reduced(product, functions), xs, partials)
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
        lambda g: [g * _product(squares, without=i) for i in range(len(squares))],
    )
    return y


def _product(values, without):
    return np.prod([v for i, v in enumerate(values) if i != without], axis=0)


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
    rectified, _ = of_gaussian(difference, PiecewiseLinear([0.0], [-1.0, 1.0]))
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
    if len({len(y.shape) for y in xs}) > 1:
        raise NoRuleError(
            "No variance rule joins values of different numbers of axes. Received "
            f"spatial axes: {[y.shape for y in xs]}. Reshape them to the same number."
        )
    shape = tuple(max(sizes) for sizes in zip(*(y.shape for y in xs), strict=True))
    if x.shape == shape:
        return x
    windows = [
        Window.gather(n, 0, out, repeat=out if n == 1 else 1)
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
    into = x.mean.shape
    shares = (counts / x.channels[index]).reshape(-1, *(1,) * len(x.shape))

    def pull(g):
        result = np.zeros(into)
        np.add.at(result, index, g * shares)
        return [result]

    y.node.link((x,), pull)
    return y
