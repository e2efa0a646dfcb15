"""Gaussian integrals over panels, and Hermite coefficients."""

from collections.abc import Sequence

import numpy as np

# Beyond 14 standard deviations nothing is left, even of exp(x) with a deviation of 3.
_Z = np.array([-14, -10, -7.5, -5.5, -4, -2.8, -1.8, -0.9, 0], "float64")
# Where the activation functions in use bend, in units of their argument.
_X = np.array([0.0, 0.4, 1, 2, 3, 5, 8, 13, 21, 34], "float64")
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(12)
NUM_COEFFICIENTS = 48


def nodes(
    mean: np.ndarray, deviation: np.ndarray, kinks: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the expectation over `z ~ N(0, 1)` of `f(mean + dev z)`.

    Args:
        mean, deviation: Arrays of one shape `(n,)`.
        kinks: Points where f or its derivative jumps: panels end there.

    Returns:
        `z` and `weights`, arrays of shape `(n, number of nodes)`.
    """
    x = np.concatenate([-_X[:0:-1], _X, kinks])
    safe = np.where(deviation > 0, deviation, 1.0)
    bends = (x - mean[:, None]) / safe[:, None]
    fixed = np.broadcast_to(np.concatenate([_Z, -_Z[-2::-1]]), (len(mean), 17))
    edges = np.concatenate([fixed, np.clip(bends, _Z[0], -_Z[0])], axis=1)
    edges.sort(axis=1)
    center = (edges[:, 1:] + edges[:, :-1]) / 2
    half = (edges[:, 1:] - edges[:, :-1]) / 2
    shape = len(mean), half.shape[1] * len(_POINTS)
    z = (center[..., None] + half[..., None] * _POINTS).reshape(shape)
    weights = (half[..., None] * _WEIGHTS).reshape(shape)
    return z, weights * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def hermite_coefficients(
    z: np.ndarray, weights: np.ndarray, value: np.ndarray
) -> list[np.ndarray]:
    """`E[f He_n / sqrt(n!)]` for n from 0, a list of arrays."""
    previous, current = np.zeros_like(z), weights * value
    coefficients = []
    for n in range(NUM_COEFFICIENTS):
        coefficients.append(np.sum(current, axis=-1))
        following = (z * current - np.sqrt(n) * previous) / np.sqrt(n + 1)
        previous, current = current, following
    return coefficients


def rounded(x: np.ndarray, digits: int = 12) -> np.ndarray:
    """`x` to a number of significant digits."""
    size = np.where((x == 0) | ~np.isfinite(x), 1.0, np.abs(x))
    exponent = np.clip(digits - 1 - np.floor(np.log10(size)), -290, 290)
    scale = 10.0**exponent
    return np.round(x * scale) / scale


def derivative(x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The derivative of a function that is smooth on every panel, at the nodes.

    That of the polynomial through its values at the nodes of each panel.

    Args:
        x: Array `(n, number of nodes)`, where the function was taken: an affine
            function of the `z` of `nodes`.
        value: Array of its values there.
    """
    panels = (*x.shape[:-1], -1, len(_POINTS))
    places, values = x.reshape(panels), value.reshape(panels)
    width = places[..., -1:] - places[..., :1]
    step = np.where(width > 0, width / (_POINTS[-1] - _POINTS[0]), np.inf)
    return ((values @ _DIFFERENTIATION.T) / step).reshape(x.shape)


def _differentiation() -> np.ndarray:
    """The matrix from values at the points to the derivatives there."""
    difference = _POINTS[:, None] - _POINTS
    np.fill_diagonal(difference, 1.0)
    weights = 1 / np.prod(difference, axis=1)
    matrix = weights / weights[:, None] / difference
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


_DIFFERENTIATION = _differentiation()
