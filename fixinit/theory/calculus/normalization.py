"""Normalization of moments: by the batch, and by the input.

Behind an activation a normalized tensor is still a function of a Gaussian: of one that
has the same law, and less in common between inputs or positions, see `_remember`.
"""

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.pairs import along, diagonal, first, second, set_diagonal
from fixinit.theory.gaussian.functions import compose
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


def by_batch(x, epsilon, batch_size=None):
    """Every channel minus its mean over batch and space, over its deviation.

    The average over a batch of n inputs contains each input's own values with the
    weight 1 / n.

    Args:
        x: `Moments`.
        epsilon: float, added to the variance.
        batch_size: int, infinite by default.
    """
    if x.parts:
        return by_parts(x, lambda part: by_batch(part, epsilon, batch_size))
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
    return _remember(x, y, np.sqrt(factor) + 0 * mean)


def by_input(x, epsilon, center=True, by_square=False, channels=None, space=False):
    """Every input's values minus their mean over channels, over their deviation.

    Args:
        x: `Moments`.
        epsilon: float, added to the variance.
        center: bool. Whether the mean is subtracted.
        by_square: bool. Whether values are divided by their root mean square instead.
        channels: int. How many channels are normalized together, all by default.
        space: bool. Whether all positions are normalized together.
    """
    shape, rank = x.shape, len(x.shape)
    mean, same, cross, count = x.mean, x.same, x.cross, channels
    if channels is None:
        # Many channels of all groups: their average is what is expected.
        mean, same, cross = (
            np.tensordot(x.shares, a, (0, 0))[None] for a in (mean, same, cross)
        )
        count = x.total_channels
    square = diagonal(same, shape)
    together = first(mean, shape) * second(mean, shape)
    # The covariance of the mean over channels, in one input and in two.
    spreads = [(pairs - together) / count for pairs in (same, cross)]
    if space:
        mean, square = (_lift(x.average(a), rank) + 0 * a for a in (mean, square))
    outer = first(mean, shape), second(mean, shape)

    def centered(pairs, spread):
        drift = outer[0] * outer[1] - (
            first(x.mean, shape) * outer[1] + outer[0] * second(x.mean, shape)
        )
        if not space:
            return pairs + drift - spread
        rows = _row_average(spread, shape)
        drift = drift + _lift(x.pair_average(spread), rank)
        return pairs + drift - first(rows, shape) - second(rows, shape)

    means, pairs, variance = x.mean, (x.same, x.cross), square
    if center:
        means = means - mean
        pairs = [centered(*both) for both in zip(pairs, spreads, strict=True)]
    if not by_square:
        lost = spreads[0]
        lost = _lift(x.pair_average(lost), rank) if space else diagonal(lost, shape)
        variance = square - mean**2 - lost
    # Rounding leaves a little of a variance that is zero.
    variance = np.where(variance < 1e-12 * square, 0.0, variance)
    factor = 1 / np.sqrt(np.broadcast_to(variance + epsilon, mean.shape))
    scale = first(factor, shape) * second(factor, shape)
    y = x.like(means * factor, *(values * scale for values in pairs))
    y.node.link((x,), lambda g: [g * factor**2])
    return _remember(x, y, factor, center)


def _remember(x, y, factor, center=True):
    """`y` as an affine function of what `x` is a function of.

    That Gaussian tensor keeps its law at every position, but for its size where
    positions are divided by different numbers (exact for ReLU, whose size is that of
    its argument). Its pairs are correlated such that the function has the moments of
    `y`: less than before, because the means that were subtracted were in common.

    Args:
        x, y: `Moments` before and after the normalization.
        factor: Array `(groups, *positions)`, what x was multiplied by.
        center: bool. Whether something was subtracted.
    """
    if x.latent is None or len(x.channels) > 1:
        return y
    base, function = x.latent
    shape, relative = x.shape, factor / _lift(x.average(factor), len(x.shape))
    mean = base.mean * relative
    variance = np.maximum(base.squares - base.mean**2, 0.0) * relative**2
    means, squares, _ = function.moments(mean, variance)
    if center:
        scale = y.average(y.squares - y.mean**2) / y.average(squares - means**2)
    else:
        scale = y.average(y.squares) / y.average(squares)
    scale = float(np.sqrt(scale)[0])
    if not 0 < scale < np.inf:
        # Constants have no law to remember.
        return y
    shift = float((y.average(y.mean) - scale * y.average(means))[0]) if center else 0.0
    function = compose(PiecewiseLinear((), [scale], [shift]), function)
    both = [(first(a, shape), second(a, shape)) for a in (mean, np.sqrt(variance))]
    own = mean**2 + variance
    same, cross = (
        both[0][0] * both[0][1]
        + both[1][0] * both[1][1] * function.correlation(*both, joint)
        for joint in (y.same, y.cross)
    )
    changed = base.like(mean, set_diagonal(same, shape, own), cross)
    gain = (factor / scale) ** 2
    changed.node.link((base,), lambda g: [g * gain])
    y.latent = changed, function
    return y


def _row_average(pairs, shape):
    """The average over the second position: `(groups, *positions)`."""
    for axis, n in enumerate(shape):
        pairs = along(positions.row_weights(n), pairs, axis + 1)
    return pairs


def _lift(values, rank):
    return values.reshape(len(values), *(1,) * rank)
