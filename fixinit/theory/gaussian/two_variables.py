"""Functions of two independent Gaussian numbers: expectations, expansions."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from fixinit.theory.gaussian import quadrature

_MOST = 32


@dataclasses.dataclass(frozen=True)
class Expansion:
    """What is known of `f(u, v)` at one mean and deviation of both.

    Attributes:
        square: float, `E[f^2]`.
        coefficients: Array, `E[f He_n(u) He_m(v)] / sqrt(n! m!)` for standardized u, v.
        squares: Tuple of floats, `E[g^2]` of further functions.
    """

    square: float
    coefficients: np.ndarray
    squares: tuple[float, ...]


def expand(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
    others: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]],
    means: Iterable[float],
    deviations: Iterable[float],
    kinks: Sequence[Sequence[float]] = ((), ()),
    negligible: float = 1e-18,
) -> Expansion:
    """Integrates a function, and the squares of others, on a grid of panels.

    Example:

    >>> from fixinit.theory.gaussian.two_variables import expand
    >>> found = expand(np.multiply, lambda u, v: [u + v], (0.0, 1.0), (1.0, 2.0))
    >>> round(found.square, 9), round(found.squares[0], 9)  # 1 * 5, 1 + 5
    (5.0, 6.0)

    Args:
        value: Callable from arrays u and v to f.
        others: Callable from these to a list of other functions.
        means, deviations: Those of u and of v.
        kinks: Points where the function jumps along u, and along v.
        negligible: float. Nodes of less weight are left out.
    """
    places, weights, polynomials = [], [], []
    for mean, deviation, points in zip(means, deviations, kinks, strict=True):
        z, w = quadrature.nodes(np.array([mean]), np.array([deviation]), points)
        kept = w[0] > negligible
        z, w = z[:, kept], w[:, kept]
        places.append(mean + deviation * z[0])
        weights.append(w[0])
        polynomials.append(_polynomials(z[0]))
    u, v = (a.ravel() for a in np.meshgrid(*places, indexing="ij"))
    both = np.multiply.outer(*weights)
    f, *rest = (a.reshape(both.shape) for a in (value(u, v), *others(u, v)))
    left, right = (p * w for p, w in zip(polynomials, weights, strict=True))
    return Expansion(
        float(np.sum(both * f**2)),
        left @ f @ right.T,
        tuple(float(np.sum(both * g**2)) for g in rest),
    )


def joint_moment(
    first: Expansion, second: Expansion, rho: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """`E[f(u, v) f(u', v')]` for correlations rho of u and u', sigma of v and v'."""
    products = first.coefficients * second.coefficients
    powers = [np.power.outer(r, np.arange(_MOST)) for r in (rho, sigma)]
    rest = [max(e.square - np.sum(e.coefficients**2), 0.0) for e in (first, second)]
    known = np.einsum("pn,nm,pm->p", powers[0], products, powers[1], optimize=True)
    return known + np.sqrt(rest[0] * rest[1]) * (rho * sigma) ** _MOST


def _polynomials(z: np.ndarray) -> np.ndarray:
    """`He_n(z) / sqrt(n!)`: array `(coefficients, nodes)`."""
    found = [np.zeros_like(z), np.ones_like(z)]
    for n in range(_MOST - 1):
        found.append((z * found[-1] - np.sqrt(n) * found[-2]) / np.sqrt(n + 1))
    return np.array(found[1:])
