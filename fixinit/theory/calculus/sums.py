"""Sums taken apart: what they have in common with other values is known then."""

from collections.abc import Sequence
from typing import TypeAlias

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.gaussian.piecewise import PiecewiseLinear

# All terms would keep every tensor of a deep network; a few sums in a row are enough.
_FURTHEST = 8

Terms: TypeAlias = list[tuple[float, Moments]]


def remember(y: Moments, xs: Sequence[Moments], factors: Sequence[float]) -> None:
    """Notes what a sum adds up, where all of it has its shape and groups."""
    fits = all(is_alike(x, y) for x in xs)
    if fits and max(map(_height, xs), default=0) < _FURTHEST:
        y.terms = list(zip(map(float, factors), xs, strict=True))


def taken_apart(
    xs: Sequence[Moments], factors: Sequence[float]
) -> tuple[Terms, Terms] | None:
    """`(terms, passed)` of a sum of sums: `x + F(x) - x` has the term `F(x)` alone.

    Args:
        xs: Sequence of `Moments`.
        factors: Their factors.

    Returns:
        The terms that are no sums themselves, each once, with the factors that remain
        of them, those that are 0 left out; and the sums that were taken apart, with
        theirs. `None` where none was.
    """
    found: dict[int, tuple[float, Moments]] = {}
    passed: Terms = []
    pending = list(zip(map(float, factors), xs, strict=True))
    while pending:
        factor, x = pending.pop()
        parts = x.terms or _multiple(x)
        if parts:
            passed.append((factor, x))
            pending += [(factor * inner, term) for inner, term in parts]
        else:
            known, _ = found.get(id(x), (0.0, x))
            found[id(x)] = known + factor, x
    terms = [(factor, x) for factor, x in found.values() if factor != 0]
    return (terms, passed) if passed else None


def is_alike(x: Moments, y: Moments) -> bool:
    """Whether two values have the same positions and groups of channels."""
    return x.shape == y.shape and len(x.channels) == len(y.channels)


def _multiple(x: Moments) -> Terms:
    """What a value is a multiple of, with the factor; empty if it is none."""
    if x.latent or x.linear is None:
        return []
    function, base = x.linear.function, x.linear.bases[0]
    if not isinstance(function, PiecewiseLinear) or function.kinks:
        return []
    if function.intercepts[0] != 0 or base.shape != x.shape:
        return []
    return [(float(function.slopes[0]), base)]


def _height(x: Moments) -> int:
    """How many sums and multiples stand one behind the other in a value."""
    parts = x.terms or _multiple(x)
    return 1 + max((_height(term) for _, term in parts), default=-1)
