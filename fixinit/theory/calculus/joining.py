"""Sums, products and maxima of several values."""

from collections.abc import Callable, Sequence

import numpy as np

from fixinit._checked import checked
from fixinit.theory.calculus.alignment import (
    Dependent,
    aligned,
    check_any,
    check_independent,
)
from fixinit.theory.calculus.chains import Step
from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.elementwise import function_of, of_gaussian, scale
from fixinit.theory.calculus.latents import same_latent
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, outer, second
from fixinit.theory.calculus.sums import Terms, is_alike, remember, taken_apart
from fixinit.theory.calculus.two_bases import two_latents
from fixinit.theory.gaussian.functions import Function, compose, product, total
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


@checked
def add(xs: Sequence[Moments], factors: Sequence[float] | None = None) -> Moments:
    """Adds values that were drawn from different weights: `sum_i c_i x_i`.

    The covariances of pairs add up, `sum_i c_i^2 cov(x_i)`; gradients are multiplied by
    `c_i^2`. Functions of one Gaussian are added as functions, exactly. Sums that have
    terms in common are taken apart: `(x + F) - x` is F.

    Example:

    >>> a, b = (fixinit.theory.Moments.inputs((100,)) for _ in range(2))
    >>> fixinit.theory.calculus.add([a, b], factors=[1.0, 0.5]).mean_square
    1.25

    Args:
        xs: Sequence of `fixinit.theory.Moments`, broadcast against each other.
        factors: Sequence of floats, all 1 by default.

    Returns:
        `Moments` of the broadcast shape.

    Raises:
        Dependent: If values depend on the same weights in different ways.
    """
    check_any(xs)
    if factors is not None and len(factors) != len(xs):
        raise ValueError(
            "Argument `factors` must have one entry for every value. Received: "
            f"factors={factors} for {len(xs)} values"
        )
    factors = list(factors or [1.0] * len(xs))
    if len(xs) == 1:
        return xs[0] if factors[0] == 1 else scale(xs[0], factors[0])
    joined = same_latent(xs)
    if joined:
        base, functions, xs = joined
        scaled = [
            compose(PiecewiseLinear((), [c], [0.0]), f)
            for c, f in zip(factors, functions, strict=True)
        ]
        return function_of(base, _reduced(total, scaled), xs, lambda u: factors)
    zero = [c == 0 or not np.any(x.same) for x, c in zip(xs, factors, strict=True)]
    if sum(not z for z in zero) <= 1 and len({x.shape for x in xs}) == 1:
        return _only(xs, factors, zero)
    try:
        check_independent(xs)
    except Dependent:
        apart = taken_apart(xs, factors)
        if apart is None:
            raise
        return _sum_of_terms(xs, *apart)
    y = _sum(aligned(xs), factors)
    remember(y, xs, factors)
    return y


def _sum_of_terms(xs: Sequence[Moments], terms: Terms, passed: Terms) -> Moments:
    """The sum of what sums are made of, which are passed over by gradients.

    Terms that are functions of one Gaussian are added as functions.
    """
    groups: dict[int, Terms] = {}
    for c, x in terms:
        groups.setdefault(id(x.latent[0] if x.latent else x), []).append((c, x))
    parts = [_added(group) for group in groups.values()]
    check_independent(parts)
    if len(parts) > 1:
        y = _sum(aligned(parts), [1.0] * len(parts))
    else:
        y = _copied(parts[0]) if parts else scale(aligned(xs)[0], 0.0)
    remember(y, [x for _, x in terms], [c for c, _ in terms])
    over = [(x.node, c**2) for c, x in passed if is_alike(x, y)]
    y.node.report = lambda g: [(node, square * g, False) for node, square in over]
    return y


def _added(terms: Terms) -> Moments:
    return add([x for _, x in terms], [c for c, _ in terms])


def _sum(xs: Sequence[Moments], factors: Sequence[float]) -> Moments:
    """The sum of independent values of one shape."""
    shape, mean = xs[0].shape, np.zeros_like(xs[0].mean)
    for c, x in zip(factors, xs, strict=True):
        mean = mean + c * x.mean
    same = cross = outer(mean, shape)
    for c, x in zip(factors, xs, strict=True):
        # Deviations from the means are uncorrelated.
        means = outer(x.mean, shape)
        same, cross = same + c**2 * (x.same - means), cross + c**2 * (x.cross - means)
    sources = frozenset().union(*(x.sources for x in xs))
    y = Moments(shape, xs[0].channels, mean, same, cross, sources)
    y.node.link(xs, lambda g: [c**2 * g for c in factors])
    return y


def _only(
    xs: Sequence[Moments], factors: Sequence[float], zero: Sequence[bool]
) -> Moments:
    """A sum with at most one term that is not zero: that term, which keeps its law."""
    index = zero.index(False) if False in zero else 0
    term = xs[index]
    y = _copied(term) if factors[index] == 1 else scale(term, factors[index])
    y.node.beside = tuple(
        (x.node, c**2)
        for i, (x, c) in enumerate(zip(xs, factors, strict=True))
        if i != index and len(x.channels) == len(term.channels)
    )
    return y


def _copied(x: Moments) -> Moments:
    """The same values as a tensor of its own."""
    if x.parts:
        return by_parts(x, _copied)
    y = x.like(x.mean, x.same, x.cross)
    y.latent = x.latent
    if x.latent:
        y.step = Step(y, [x], lambda u: [1.0])
    else:
        remember(y, [x], [1.0])
    y.node.link((x,), lambda g: [g])
    return y


@checked
def multiply(xs: Sequence[Moments]) -> Moments:
    """Multiplies values that were drawn from different weights.

    Moments of pairs multiply; the gradient of one factor is multiplied by the mean
    squares of the others. Functions of one Gaussian are multiplied as functions,
    exactly.

    Example:

    >>> a, b = (fixinit.theory.Moments.inputs((100,), variance=2.0) for _ in range(2))
    >>> fixinit.theory.calculus.multiply([a, b]).mean_square
    4.0

    Args:
        xs: Sequence of `fixinit.theory.Moments`, broadcast against each other.

    Returns:
        `Moments` of the broadcast shape.

    Raises:
        Dependent: If values depend on the same weights in different ways.
    """
    check_any(xs)
    joined = same_latent(xs)
    if joined:
        base, functions, xs = joined

        def partials(u: np.ndarray) -> list[np.ndarray]:
            values = [function(u) for function in functions]
            return [_product(values, without=i) for i in range(len(values))]

        return function_of(base, _reduced(product, functions), xs, partials)
    check_independent(xs)
    xs = aligned(xs)
    y = xs[0].like(
        np.prod([x.mean for x in xs], axis=0),
        np.prod([x.same for x in xs], axis=0),
        np.prod([x.cross for x in xs], axis=0),
        frozenset().union(*(x.sources for x in xs)),
    )
    squares = [x.squares for x in xs]
    y.node.link(
        xs,
        lambda g: [g * _product(squares, without=i) for i in range(len(squares))],
    )
    return y


def _product(values: Sequence[np.ndarray], without: int) -> np.ndarray:
    return np.prod([v for i, v in enumerate(values) if i != without], axis=0)


@checked
def maximum(xs: Sequence[Moments], sign: float = 1.0) -> Moments:
    """Takes the maximum of values that were drawn from different weights.

    `max(u, v) = (u + v) / 2 + |u - v| / 2`, and the two halves are taken as jointly
    Gaussian. Functions of two independent Gaussians are integrated over both. The
    gradient goes to each value with the probability that it is larger.

    Example:

    >>> a, b = (fixinit.theory.Moments.inputs((100,)) for _ in range(2))
    >>> y = fixinit.theory.calculus.maximum([a, b])
    >>> round(y.mean_value, 6), round(y.mean_square, 6)  # 1 / sqrt(pi), 1
    (0.56419, 1.0)

    Args:
        xs: Sequence of at least two `fixinit.theory.Moments`, broadcast against each
            other.
        sign: float. -1 gives the minimum; 1 by default.

    Returns:
        `Moments` of the broadcast shape.

    Raises:
        Dependent: If values depend on the same weights.
    """
    if len(xs) < 2 or sign not in (-1, 1):
        raise ValueError(
            "Argument `xs` must be two values or more, and `sign` 1 or -1. Received: "
            f"{len(xs)} values, sign={sign}"
        )
    if len(xs) > 2:
        return maximum([maximum(xs[:2], sign), *xs[2:]], sign)
    pair = two_latents(xs) if any(x.latent for x in xs) else None
    y = pair and pair.apply(
        np.maximum if sign > 0 else np.minimum,
        lambda u, v: [1.0 * (sign * u > sign * v), 1.0 * (sign * u <= sign * v)],
    )
    if y:
        return y
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

    def pairs(name: str) -> np.ndarray:
        a, b = (getattr(x, name) - outer(x.mean, shape) for x in (u, v))
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


def _reduced(
    function: Callable[[Function, Function], Function], functions: Sequence[Function]
) -> Function:
    result = functions[0]
    for following in functions[1:]:
        result = function(result, following)
    return result
