"""Normalization of moments: by the batch, by the input, by fixed statistics."""

import numpy as np

from fixinit.theory import positions
from fixinit.theory.moments import along, diagonal, first, second


def by_batch(x, epsilon, batch_size=None):
    """Every channel minus its mean over batch and space, over its deviation.

    The average over a batch of n inputs contains each input's own values with the
    weight 1 / n.

    Args:
        x: `Moments`.
        epsilon: float, added to the variance.
        batch_size: int, infinite by default.
    """
    mixture = x.batch_mixture(batch_size)
    rows = _row_average(mixture, x.shape)
    whole = _lift(x.pair_average(mixture), len(x.shape))
    drift = whole - first(rows, x.shape) - second(rows, x.shape)
    variance = _lift(x.average(x.squares), len(x.shape)) - whole
    # Rounding leaves a little of a variance that is zero.
    square = _lift(x.average(x.squares), len(x.shape))
    variance = np.where(variance < 1e-12 * square, 0.0, variance)
    factor = 1 / (variance + epsilon)
    mean = x.mean - _lift(x.average(x.mean), len(x.shape))
    y = x.like(
        mean * np.sqrt(factor), (x.same + drift) * factor, (x.cross + drift) * factor
    )
    y.node.link((x,), lambda g: [g * factor])
    return y


def by_input(x, epsilon, center=True, channels=None, space=False):
    """Every input's values minus their mean over channels, over their deviation.

    Args:
        x: `Moments`.
        epsilon: float, added to the variance.
        center: bool. Whether the mean is subtracted.
        channels: int. How many channels are normalized together, all by default.
        space: bool. Whether all positions are normalized together.
    """
    rank = len(x.shape)
    if channels is None:
        # Many channels of all groups: their average is what is expected.
        shares = x.shares
        mean, square = (
            np.tensordot(shares, a, (0, 0))[None] for a in (x.mean, x.squares)
        )
        count = x.total_channels
        pairs = np.tensordot(shares, x.same, (0, 0))[None]
    else:
        mean, square, count, pairs = x.mean, x.squares, channels, x.same
    common = first(mean, x.shape) * second(mean, x.shape)
    spread = (pairs - common) / count  # covariance of the mean over channels
    if space:
        rows = _row_average(spread, x.shape)
        whole = _lift(x.pair_average(spread), rank)
        mean = _lift(x.average(mean), rank) + 0 * mean
        square = _lift(x.average(square), rank) + 0 * square
    same, cross, means = x.same, x.cross, x.mean
    variance = square
    if center:
        outer = first(mean, x.shape), second(mean, x.shape)
        drift = outer[0] * outer[1] - (
            first(x.mean, x.shape) * outer[1] + outer[0] * second(x.mean, x.shape)
        )
        own = whole - first(rows, x.shape) - second(rows, x.shape) if space else -spread
        same, cross = same + drift + own, cross + drift
        means = means - mean
        lost = whole if space else diagonal(spread, x.shape)
        variance = square - mean**2 - lost
    # Rounding leaves a little of a variance that is zero.
    variance = np.where(variance < 1e-12 * square, 0.0, variance)
    factor = 1 / np.sqrt(np.broadcast_to(variance + epsilon, mean.shape))
    scale = first(factor, x.shape) * second(factor, x.shape)
    y = x.like(means * factor, same * scale, cross * scale)
    y.node.link((x,), lambda g: [g * factor**2])
    return y


def _row_average(pairs, shape):
    """The average over the second position: `(groups, *positions)`."""
    for axis, n in enumerate(shape):
        pairs = along(positions.row_weights(n), pairs, axis + 1)
    return pairs


def _lift(values, rank):
    return values.reshape(len(values), *(1,) * rank)
