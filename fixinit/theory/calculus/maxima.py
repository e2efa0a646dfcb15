"""Moments of the maximum of correlated values, and of the maxima of two windows."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from fixinit.theory.calculus.pairs import first, outer, second
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.normal import orthant
from fixinit.theory.gaussian.quadrature import hermite_coefficients

# Nodes of what the values of a window have in common, and of what they do not.
_COMMON, _OWN = 24, 160


class Maxima:
    """The maximum of `count` values `f(mean + g + e_i)`, and of `floor`.

    Args:
        function: `fixinit.theory.Function`.
        parameters: Arrays `(groups, *positions)`: the mean, the variance of g, the
            variance of `g + e_i`, the count and the floor.
        shape: The spatial axes.
    """

    def __init__(
        self,
        function: Function,
        parameters: tuple[np.ndarray, ...],
        shape: Sequence[int],
    ) -> None:
        _, _, self.full_variance, self.full_count, _ = parameters
        self.full, self.shape = self.full_count.shape, shape
        flat = np.stack([a.ravel() for a in parameters])
        flat, self.inverse = np.unique(flat, axis=1, return_inverse=True)
        mean, common, variance, count, floor = (a[:, None, None] for a in flat)
        self.common = flat[1]
        z, weights = _hermite_nodes()
        own, self.probability = _own_nodes()
        own_deviation = np.sqrt(np.maximum(variance - common, 0))
        points = mean + np.sqrt(common) * z[:, None] + own_deviation * own
        values, slopes = function(points), function.derivative(points)
        slopes = np.where(values < floor, 0.0, slopes)
        values = np.maximum(values, floor)
        order = np.argsort(values, axis=-1, kind="stable")
        values = np.take_along_axis(values, order, -1)
        slopes = np.take_along_axis(slopes, order, -1) ** 2
        cumulated = np.cumsum(self.probability[order], axis=-1)
        cumulated = np.clip(cumulated, 0, 1)
        chance = np.diff(cumulated**count, axis=-1, prepend=0)
        # E[max | g], by nodes of g.
        given = np.sum(chance * values, axis=-1)
        square = np.sum(chance * values**2, axis=-1)
        self.mean = self._restore(given @ weights)
        self.square = self._restore(square @ weights)
        slope = np.sum(chance * slopes, axis=-1) @ weights
        self.slope = self._restore(slope)
        self.disjoint = self._restore(given**2 @ weights)
        weights, z = (np.broadcast_to(a, given.shape) for a in (weights, z))
        self.coefficients = hermite_coefficients(z, weights, given)[: _COMMON // 2]

    def _restore(self, values: np.ndarray) -> np.ndarray:
        return values[self.inverse.ravel()].reshape(self.full)

    def pairs(
        self, covariance: np.ndarray, own: np.ndarray, shared: np.ndarray
    ) -> np.ndarray:
        """`E[max max']` for pairs of windows.

        Args:
            covariance: Array, the average over all pairs of a value in one window and a
                value in the other.
            own: Array `(groups, *positions)`: the average covariance of a value with
                the value at the same position.
            shared: Array: how many positions the windows have in common.
        """
        shape = self.shape
        part = shared / outer(self.full_count, shape)
        own = (first(own, shape) + second(own, shape)) / 2
        # Between different positions.
        other = np.where(
            part < 1, (covariance - part * own) / np.maximum(1 - part, 1e-12), own
        )
        common = self._restore(self.common)
        scale = np.sqrt(outer(common, shape))
        ratio = np.where(scale > 0, other / np.maximum(scale, 1e-300), 0)
        ratio = np.clip(ratio, -1, 1)
        total = np.zeros(())
        for a in reversed(self.coefficients):
            total = total * ratio + outer(self._restore(a), shape)
        rest = np.sqrt(outer(np.maximum(self.full_variance - common, 0), shape))
        alike = np.where(rest > 0, (own - other) / np.maximum(rest, 1e-300), 0)
        excess = np.sqrt(outer((self.square - self.disjoint).clip(0), shape))
        count = np.maximum(
            first(self.full_count, shape), second(self.full_count, shape)
        )
        correlation = _shared_correlation(count, shared)
        return total + excess * correlation * _alike_correlation(count, alike)


def _shared_correlation(count: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """The correlation of two maxima of `count` normals, `shared` of them in common."""
    count, shared = np.broadcast_arrays(np.round(count, 2), np.round(shared, 2))
    pairs = np.stack([count.ravel(), np.minimum(shared, count).ravel()])
    distinct, inverse = np.unique(pairs, axis=1, return_inverse=True)
    values = np.array([_maxima_correlation(k, s) for k, s in distinct.T])
    return values[inverse.ravel()].reshape(count.shape)


@functools.lru_cache(maxsize=4096)
def _maxima_correlation(count: float, shared: float) -> float:
    if shared <= 0 or count <= 0:
        return 0.0
    if shared >= count:
        return 1.0
    z, probability = _own_nodes()
    below = np.clip(np.cumsum(probability), 0, 1)
    chance = np.diff(below**count, prepend=0)
    mean, square = chance @ z, chance @ z**2
    smaller = np.minimum(below[:, None], below[None, :])
    joint = np.multiply.outer(below, below) ** (count - shared) * smaller**shared
    density = np.diff(np.diff(joint, axis=0, prepend=0), axis=1, prepend=0)
    return float((z @ density @ z - mean**2) / (square - mean**2))


def _alike_correlation(count: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """The correlation of two maxima over values with a correlation, pair by pair."""
    count = np.broadcast_to(np.round(count), alike.shape)
    result = np.empty(alike.shape)
    for k in np.unique(count):
        where = count == k
        result[where] = np.interp(alike[where], *_alike_table(float(k)))
    return result


@functools.lru_cache(maxsize=64)
def _alike_table(count: float) -> tuple[np.ndarray, np.ndarray]:
    """Correlations of values, and of the maxima of `count` of them."""
    z = np.linspace(-5, 6, 90)
    below = special.ndtr(z) ** count
    chance = np.diff(below, prepend=0)
    centers = z - (z[1] - z[0]) / 2
    mean, square = chance @ centers, chance @ centers**2
    grid = 1 - np.linspace(1, 0, 17) ** 2
    found = []
    for rho in grid[1:-1]:
        joint = orthant(z[:, None], z[None, :], rho) ** count
        density = np.diff(np.diff(joint, axis=0, prepend=0), axis=1, prepend=0)
        found.append((centers @ density @ centers - mean**2) / (square - mean**2))
    return grid, np.clip([0.0, *found, 1.0], 0, 1)


@functools.lru_cache(maxsize=1)
def _hermite_nodes() -> tuple[np.ndarray, np.ndarray]:
    z, weights = np.polynomial.hermite_e.hermegauss(_COMMON)
    return z, weights / math.sqrt(2 * math.pi)


@functools.lru_cache(maxsize=1)
def _own_nodes() -> tuple[np.ndarray, np.ndarray]:
    """The centres and probabilities of cells of the normal distribution."""
    edges = np.linspace(-6.5, 6.5, _OWN + 1)
    probability = np.diff(special.ndtr(edges))
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    centers = (density[:-1] - density[1:]) / probability
    return centers, probability / probability.sum()
