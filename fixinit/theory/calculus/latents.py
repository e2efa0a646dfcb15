"""The Gaussian tensor that several values are functions of."""

from collections.abc import Sequence

from fixinit.theory.calculus.chains import seen_from
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


def same_latent(
    xs: Sequence[Moments],
) -> tuple[Moments, list[Function], list[Moments]] | None:
    """`(base, functions, xs)` if all values are functions of one Gaussian tensor.

    Values whose Gaussian is a linear function of it come as functions of it.
    """
    gaussian = [x.latent[0] if x.latent else x for x in xs]
    roots = [[g, *(g.linear.bases if g.linear else [])] for g in gaussian]
    base = next(
        (r for r in roots[0] if all(any(r is s for s in other) for other in roots)),
        None,
    )
    if base is None:
        return None
    seen = [seen_from(x, base) for x in xs]
    functions = [x.latent[1] if x.latent else PiecewiseLinear() for x in seen]
    return base, functions, seen
