"""Random arrays of given moments, and the moments of arrays."""

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import outer, set_diagonal
from fixinit.theory.calculus.pairs import position_average as over_positions
from fixinit.theory.gaussian.piecewise import PiecewiseLinear

# Positions whose covariances are all drawn from, and measured.
_MOST = 1024


def sample(x: Moments, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a batch of which `x` are the moments: Gaussian, or a function of that.

    Positions of one input and of two are correlated as `x` says. On more than 1024
    positions, all of them are as much alike as they are on average.

    Args:
        x: `Moments`.
        batch: int.
        rng: `numpy.random.Generator`.

    Returns:
        Array `(batch, *space, channels)`.
    """
    base, function = x.latent or (x, PiecewiseLinear())
    groups = [
        _group(base, index, count, batch, rng)
        for index, count in enumerate(base.channels)
    ]
    values = function(np.concatenate(groups, axis=-1))
    return values.reshape(batch, *x.shape, x.total_channels)


def _group(
    x: Moments, index: int, count: int, batch: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws the channels of one group: array `(batch, positions, channels)`."""
    place, _ = positions.classes(x.shape)
    mean = x.mean[index].ravel()[place]
    shape = x.shape
    same, cross = (
        (pairs - outer(x.mean, shape))[index : index + 1] for pairs in (x.same, x.cross)
    )
    size = len(place)
    shared = rng.standard_normal((1, size, count))
    own = rng.standard_normal((batch, size, count))
    if size <= _MOST:
        pairs, _ = positions.classes_of_pairs(shape)
        within, between = (c.ravel()[pairs].reshape(size, size) for c in (same, cross))
        drawn = _root(between) @ shared + _root(within - between) @ own
    else:
        deviation = np.sqrt(np.maximum(_own(same, shape), 0.0)).ravel()[place]
        square = max(float(np.mean(deviation**2)), 1e-300)
        rho = [float(x.pair_average(c)[0]) / square for c in (same, cross)]
        between = min(max(rho[1], 0.0), 1.0)
        within = min(max(rho[0], between), 1.0)
        drawn = (
            np.sqrt(between) * shared[:, :1]
            + np.sqrt(within - between) * own[:, :1]
            + np.sqrt(1 - within) * rng.standard_normal((batch, size, count))
        ) * deviation[:, None]
    return mean[:, None] + drawn


def _own(pairs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    steps = (slice(None, None, positions.size(n) + 1) for n in shape)
    return pairs[(slice(None), *steps)]


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose square is a covariance, up to what is negative in that."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def moments_of(values: np.ndarray, sources: frozenset) -> Moments:
    """The moments of draws of one tensor, averaged over channels.

    Args:
        values: Array `(draws, batch, *space, channels)`.
        sources: What they were drawn from.
    """
    draws, batch, *space, channels = values.shape
    flat = values.reshape(draws, batch, -1, channels)
    size = flat.shape[2]
    total = flat.sum(axis=1)
    pairs_of_inputs = max(batch * (batch - 1), 1)
    mean = positions.average(flat.mean(axis=(0, 1, 3)), space)
    square = positions.average(np.mean(flat**2, axis=(0, 1, 3)), space)
    if size <= _MOST:
        rows = np.moveaxis(flat, 2, 0).reshape(size, -1)
        gram = rows @ rows.T
        rows = np.moveaxis(total, 1, 0).reshape(size, -1)
        between = (rows @ rows.T - gram) / (draws * channels * pairs_of_inputs)
        same = positions.average_of_pairs(gram / (draws * batch * channels), space)
        cross = positions.average_of_pairs(between, space)
    else:
        same, cross = _all_alike(flat, mean, square, space)
    if batch == 1:
        cross = same
    set_diagonal(same, space, square)
    return Moments(space, [channels], mean, same, cross, sources)


def _all_alike(
    flat: np.ndarray, mean: np.ndarray, square: np.ndarray, space: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of pairs, where all pairs of different positions deviate alike."""
    _, batch, size, _ = flat.shape
    whole = flat.mean(axis=2)
    own = float(np.mean(whole**2))
    others = float(np.mean(whole.sum(axis=1) ** 2)) / batch - own
    between = others / max(batch - 1, 1)
    at_one = float(over_positions(square, space)[0])
    apart = (own - at_one / size) / (1 - 1 / size)
    together = outer(mean, space)
    level = float(np.mean(flat.mean(axis=(0, 1, 3)))) ** 2
    return together + (apart - level), together + (between - level)
