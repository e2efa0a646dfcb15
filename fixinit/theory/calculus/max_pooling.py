"""The maximum over a window of correlated values."""

import functools
import math

import numpy as np
from scipy import special

from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import diagonal, first, second, set_diagonal
from fixinit.theory.calculus.space import back, taps
from fixinit.theory.gaussian.piecewise import PiecewiseLinear, orthant
from fixinit.theory.gaussian.quadrature import hermite_coefficients

# Nodes of what the values of a window have in common, and of what they do not.
_COMMON, _OWN = 24, 160


def max_pool(x, windows):
    """Max pooling: `windows` is one `Window` per spatial axis.

    The values of a window are taken as `f(g + e_i)`, with `f` the activation in front
    of it, `g` Gaussian and common to the window, and the `e_i` independent of each
    other: their correlation within the window is its average. Given g, the maximum of
    k independent values is known from their distribution function, on a grid.
    Windows that overlap share some of the `e_i`; in another input the same position has
    an `e_i` that is correlated where the activations depend on the position.
    """
    if x.parts:
        return by_parts(x, lambda part: max_pool(part, windows))
    base, function = x.latent or (x, PiecewiseLinear())
    centered = [
        getattr(base, name) - first(base.mean, x.shape) * second(base.mean, x.shape)
        for name in ("same", "cross")
    ]
    size = _outer([window.mean.sum(axis=1) for window in windows])
    variance = np.maximum(base.squares - base.mean**2, 0)
    # Padding before the layer is no random value, but a bound.
    alive = (variance > 0) | ~np.any(variance > 0)
    count = np.maximum(taps(alive.astype("float64"), windows, "mean"), 1e-12)
    floor = np.where(count < size - 1e-9, float(function(0.0)), -np.inf)
    mean = taps(base.mean * alive, windows, "mean") / count
    variance = taps(variance, windows, "mean") / count
    shape = [window.outputs for window in windows]
    pair_count = first(count, shape) * second(count, shape)
    between, across = (taps(c, windows, "all_taps") / pair_count for c in centered)
    # Within a window, without the values' covariance with themselves.
    whole = diagonal(between, shape)
    common = np.where(count > 1, (whole - variance / count) / (1 - 1 / count), variance)
    common = np.clip(np.where(count > 1, common, variance), 0, variance)
    moments = _Maxima(function, (mean, common, variance, count, floor), shape)
    shared = _outer([window.shared for window in windows])[None]
    pooled = [
        moments.pairs(
            covariance, taps(diagonal(pairs, x.shape), windows, "mean") / count, shared
        )
        for covariance, pairs in zip((between, across), centered, strict=True)
    ]
    y = Moments(shape, x.channels, moments.mean, *pooled, x.sources)
    set_diagonal(y.same, shape, moments.square)
    slope = moments.slope

    def route(g):
        return back(g / size, windows)

    if x.latent is None:
        y.node.link((x,), lambda g: [route(g)])
    else:
        node = x.node
        report = lambda g: [(node, route(g), True)]  # noqa: E731
        y.node.link((base,), lambda g: [route(slope * g)], report)
    return y


class _Maxima:
    """The maximum of `count` values `f(mean + g + e_i)`, and of `floor`.

    Args:
        function: `fixinit.theory.Function`.
        parameters: Arrays `(groups, *positions)`: the mean, the variance of g, the
            variance of `g + e_i`, the count and the floor.
        shape: The spatial axes.
    """

    def __init__(self, function, parameters, shape):
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

    def _restore(self, values):
        return values[self.inverse.ravel()].reshape(self.full)

    def pairs(self, covariance, own, shared):
        """`E[max max']` for pairs of windows.

        Args:
            covariance: Array, the average over all pairs of a value in one window and a
                value in the other.
            own: Array `(groups, *positions)`: the average covariance of a value with
                the value at the same position.
            shared: Array: how many positions the windows have in common.
        """
        shape = self.shape
        count = first(self.full_count, shape), second(self.full_count, shape)
        part = shared / (count[0] * count[1])
        own = (first(own, shape) + second(own, shape)) / 2
        # Between different positions.
        other = np.where(
            part < 1, (covariance - part * own) / np.maximum(1 - part, 1e-12), own
        )
        common = self._restore(self.common)
        scale = np.sqrt(first(common, shape) * second(common, shape))
        ratio = np.where(scale > 0, other / np.maximum(scale, 1e-300), 0)
        ratio = np.clip(ratio, -1, 1)
        total = 0.0
        for a in reversed(self.coefficients):
            a = self._restore(a)
            total = total * ratio + first(a, shape) * second(a, shape)
        rest = np.maximum(self.full_variance - common, 0)
        rest = np.sqrt(first(rest, shape) * second(rest, shape))
        alike = np.where(rest > 0, (own - other) / np.maximum(rest, 1e-300), 0)
        excess = np.sqrt(
            first(self.square - self.disjoint, shape).clip(0)
            * second(self.square - self.disjoint, shape).clip(0)
        )
        count = np.maximum(*count)
        correlation = _shared_correlation(count, shared)
        return total + excess * correlation * _alike_correlation(count, alike)


def _shared_correlation(count, shared):
    """The correlation of two maxima of `count` normals, `shared` of them in common."""
    count, shared = np.broadcast_arrays(np.round(count, 2), np.round(shared, 2))
    pairs = np.stack([count.ravel(), np.minimum(shared, count).ravel()])
    distinct, inverse = np.unique(pairs, axis=1, return_inverse=True)
    values = np.array([_maxima_correlation(k, s) for k, s in distinct.T])
    return values[inverse.ravel()].reshape(count.shape)


@functools.lru_cache(maxsize=4096)
def _maxima_correlation(count, shared):
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


def _alike_correlation(count, alike):
    """The correlation of two maxima over values with a correlation, pair by pair."""
    count = np.broadcast_to(np.round(count), alike.shape)
    result = np.empty(alike.shape)
    for k in np.unique(count):
        where = count == k
        result[where] = np.interp(alike[where], *_alike_table(float(k)))
    return result


@functools.lru_cache(maxsize=64)
def _alike_table(count):
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
def _hermite_nodes():
    z, weights = np.polynomial.hermite_e.hermegauss(_COMMON)
    return z, weights / math.sqrt(2 * math.pi)


@functools.lru_cache(maxsize=1)
def _own_nodes():
    """The centres and probabilities of cells of the normal distribution."""
    edges = np.linspace(-6.5, 6.5, _OWN + 1)
    probability = np.diff(special.ndtr(edges))
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    centers = (density[:-1] - density[1:]) / probability
    return centers, probability / probability.sum()


def _outer(arrays):
    result = np.ones(())
    for a in arrays:
        result = np.multiply.outer(result, a)
    return result
