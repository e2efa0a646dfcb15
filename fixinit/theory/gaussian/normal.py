"""Integrals of the normal distribution, of one and of two variables."""

import numpy as np
from scipy import special

from fixinit._typing import ArrayLike

_FAR = 38.0  # standard deviations: the normal density underflows there


def standardized(x: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """`x / deviation` within 38 deviations, also where the deviation is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        h = np.where(deviation > 0, x / deviation, np.sign(x) * _FAR)
    return np.clip(h, -_FAR, _FAR)


def density(x: np.ndarray) -> np.ndarray:
    """The density of the standard normal distribution."""
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def truncated_moments(
    low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`E[1]`, `E[z]` and `E[z^2]` over `low < z < high` for a standard normal z."""
    ends = [np.where(np.isfinite(h), h, 0.0) for h in (low, high)]
    densities = [
        np.where(np.isfinite(h), density(e), 0.0)
        for h, e in zip((low, high), ends, strict=True)
    ]
    # By symmetry in the tail where the distribution function is accurate.
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    m0 = special.ndtr(b) - special.ndtr(a)
    m1 = densities[0] - densities[1]
    return m0, m1, m0 + ends[0] * densities[0] - ends[1] * densities[1]


def joint_ramps(first: tuple, second: tuple, rho: np.ndarray) -> np.ndarray:
    """`E[(r u+ + p 1(u > 0)) (r' v+ + p' 1(v > 0))]` for Gaussian u and v.

    Args:
        first, second: Mean, deviation, r and p of u and of v.
        rho: Their correlation.
    """
    (m, s, ramp, step), (n, t, ramp2, step2) = first, second
    a, b = standardized(m, s), standardized(n, t)
    rho = np.clip(rho, -1.0, 1.0)
    root = np.sqrt(np.maximum((1 - rho) * (1 + rho), 1e-24))
    if not np.any(a) and not np.any(b):
        # Zero means and kinks at 0: the arc-cosine kernel.
        both = 0.25 + np.arcsin(rho) / (2 * np.pi)
        if not step and not step2:
            return ramp * ramp2 * s * t * (rho * both + root / (2 * np.pi))
    else:
        both = orthant(a, b, rho)
    edge_u = density(a) * special.ndtr((b - rho * a) / root)
    edge_v = density(b) * special.ndtr((a - rho * b) / root)
    result = step * step2 * both
    if ramp and ramp2:
        exponent = -(a**2 + (b - rho * a) ** 2 / root**2) / 2
        corner = root * np.exp(exponent) / (2 * np.pi)
        result = result + ramp * ramp2 * (
            (m * n + rho * s * t) * both
            + n * s * edge_u
            + m * t * edge_v
            + s * t * corner
        )
    if ramp and step2:
        result = result + ramp * step2 * (m * both + s * (edge_u + rho * edge_v))
    if step and ramp2:
        result = result + step * ramp2 * (n * both + t * (edge_v + rho * edge_u))
    return result


def orthant(a: ArrayLike, b: ArrayLike, rho: ArrayLike) -> np.ndarray:
    """`P(u < a, v < b)` for standard normal u and v with correlation rho.

    Example:

    >>> from fixinit.theory.gaussian.normal import orthant
    >>> round(float(orthant(0.0, 0.0, 0.5)), 9)  # 1/4 + asin(1/2) / (2 pi)
    0.333333333
    """
    rho = np.asarray(rho, "float64")
    root = np.sqrt(np.maximum((1 - rho) * (1 + rho), 1e-24))
    # Owen's formula divides by both: a number too small to matter for a zero.
    a = np.where(a == 0, 1e-200, a)
    b = np.where(b == 0, 1e-200, b)
    owen = special.owens_t(a, (b - rho * a) / (a * root))
    owen = owen + special.owens_t(b, (a - rho * b) / (b * root))
    opposite = np.where(a * b < 0, 0.5, 0.0)
    return (special.ndtr(a) + special.ndtr(b)) / 2 - owen - opposite
