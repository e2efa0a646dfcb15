"""Gaussian moments of a function and of its first two derivatives."""

import dataclasses

import numpy as np

from fixinit.theory.gaussian import quadrature
from fixinit.theory.gaussian.functions import Function

# Beyond so many standard deviations a finite variance has nothing left.
_FAR, _MOST_BEYOND = 10.0, 1e-6
_STEP, _SMALLEST_JUMP = 1e-7, 1e-5


@dataclasses.dataclass(frozen=True)
class Slopes:
    """Moments of `f(x)` and its derivatives for `x = shift + deviation * z`.

    Attributes:
        mean, square: floats, `E[f]` and `E[f^2]`.
        product: float, `E[f f' z]`.
        tilt: float, `E[f' z]`.
        slope: float, `E[f'^2]`.
        curvature: float, `E[f''^2]`; infinite where the slope jumps.
    """

    mean: float
    square: float
    product: float
    tilt: float
    slope: float
    curvature: float


def slopes(function: Function, shift: float, deviation: float) -> Slopes:
    """Integrates a function and its derivatives over `N(shift, deviation^2)`.

    Example:

    >>> from fixinit.theory.gaussian.slopes import slopes
    >>> found = slopes(fixinit.theory.activation("square"), 0.0, 1.0)
    >>> round(found.square, 9), round(found.slope, 9), round(found.curvature, 9)
    (3.0, 4.0, 4.0)
    """
    ends = np.array([shift]), np.array([deviation])
    z, weights = quadrature.nodes(*ends, function.kinks)
    x = shift + deviation * z
    f, d = function.value(x), function.derivative(x)
    bent = np.inf
    if not slope_jumps(function):
        bent = float(np.sum(weights * quadrature.derivative(x, d) ** 2))
    mean, square, product, tilt, slope = (
        float(np.sum(weights * y)) for y in (f, f**2, f * d * z, d * z, d**2)
    )
    return Slopes(mean, square, product, tilt, slope, bent)


def slope_jumps(function: Function) -> bool:
    """Whether a function or its derivative jumps, so that `E[f''^2]` is infinite."""
    for kink in function.kinks:
        step = _STEP * (1 + abs(kink))
        for part in (function.value, function.derivative):
            low, high = part(np.array([kink - step, kink + step]))
            if abs(high - low) > _SMALLEST_JUMP * (1 + abs(low) + abs(high)):
                return True
    return False


def has_variance(function: Function) -> bool:
    """Whether `E[f(z)^2]` is finite for a standard normal z, as far as one can tell.

    Its integral may have nothing left beyond ten standard deviations.
    """
    z, weights = quadrature.nodes(np.zeros(1), np.ones(1), function.kinks)
    with np.errstate(all="ignore"):
        parts = weights * function.value(z) ** 2
    if not np.all(np.isfinite(parts)):
        return False
    beyond = float(np.sum(parts[np.abs(z) > _FAR]))
    return beyond <= _MOST_BEYOND * float(np.sum(parts))
