"""Values that are never negative: functions of a Gaussian by their logarithm."""

import numpy as np

from fixinit.theory.calculus.elementwise import apply
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import diagonal, outer
from fixinit.theory.gaussian.functions import Exponential

_REACH = np.linspace(-8, 8, 161)  # standard deviations
# Of the product of two means; a covariance below is none of a log-normal pair.
_LEAST = -0.99


def is_never_negative(x: Moments) -> bool:
    """Whether values are a function of a Gaussian that is nowhere negative."""
    if x.latent is None:
        return False
    base, function = x.latent
    deviation = np.sqrt(np.maximum(base.squares - base.mean**2, 0.0))
    points = base.mean[..., None] + deviation[..., None] * _REACH
    return bool(np.min(function(points)) >= 0)


def positive(y: Moments) -> Moments:
    """The same values as the exponential of a Gaussian, as averages of squares are.

    All moments stay; roots, reciprocals and logarithms of the values become those of a
    log-normal distribution, which has no mass at zero and below.

    Args:
        y: `Moments`, none of whose values is negative.

    Returns:
        `Moments` that are remembered as that function; `y` where a mean is 0.
    """
    if y.latent or not (np.all(np.isfinite(y.same)) and np.all(y.mean > 0)):
        return y
    means = outer(y.mean, y.shape)
    same, cross = (
        np.log1p(np.maximum(pairs / means - 1, _LEAST)) for pairs in (y.same, y.cross)
    )
    mean = np.log(y.mean) - diagonal(same, y.shape) / 2
    together = outer(mean, y.shape)
    logarithm = y.like(mean, same + together, cross + together)
    pull, squares = y.node.pull, y.squares
    logarithm.node.parents = y.node.parents
    if pull is not None:
        # Of the exponential, the derivative is the value.
        logarithm.node.pull = lambda g: pull(g / squares)
    return apply(logarithm, Exponential())
