"""Normalization of moments, by the batch and by the input.

Behind an activation a normalized tensor is still a function of a Gaussian: of one that
has the same law, and less in common between inputs or positions, see `_remember`.
"""

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_size, check_variance
from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import (
    diagonal,
    first,
    outer,
    row_average,
    second,
    set_diagonal,
)
from fixinit.theory.gaussian.functions import compose
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


@checked
def normalize_by_batch(
    x: Moments, epsilon: float, batch_size: int | None = None
) -> Moments:
    """Normalizes every channel by its mean and variance over batch and space.

    `(x - m) / sqrt(v + epsilon)`, with `m` and `v` what the batch's statistics are
    expected to be. In the average over n inputs, each input's own values have the
    weight 1 / n. Gradients are divided by `v + epsilon`; the terms that the statistics
    add to them are left out.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16), mean=3.0, variance=4.0)
    >>> y = fixinit.theory.calculus.normalize_by_batch(x, epsilon=0.0)
    >>> y.mean_value, y.mean_square
    (0.0, 1.0)

    Args:
        x: `fixinit.theory.Moments`.
        epsilon: float, added to the variance.
        batch_size: int, infinite by default.

    Returns:
        `Moments` of the shape of `x`.
    """
    check_variance("epsilon", epsilon)
    if batch_size is not None:
        check_size("batch_size", batch_size)
    if x.parts:
        return by_parts(x, lambda part: normalize_by_batch(part, epsilon, batch_size))
    mixture = x.batch_mixture(batch_size)
    rows = row_average(mixture, x.shape)
    whole = _lift(x.pair_average(mixture), len(x.shape))
    drift = whole - first(rows, x.shape) - second(rows, x.shape)
    square = _lift(x.average(x.squares), len(x.shape))
    factor = 1 / (_without_rounding(square - whole, square) + epsilon)
    mean = x.mean - _lift(x.average(x.mean), len(x.shape))
    y = x.like(
        mean * np.sqrt(factor), (x.same + drift) * factor, (x.cross + drift) * factor
    )
    y.node.link((x,), lambda g: [g * factor])
    return _remember(x, y, np.sqrt(factor) + 0 * mean)


@checked
def normalize_by_input(
    x: Moments,
    epsilon: float,
    center: bool = True,
    by_square: bool = False,
    channels: int | None = None,
    space: bool = False,
) -> Moments:
    """Normalizes every input by its own mean and variance over channels.

    `(x - m) / sqrt(v + epsilon)`, with `m` and `v` what the input's statistics are
    expected to be. Gradients are divided by `v + epsilon`; the terms that the
    statistics add to them are left out.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,), mean=3.0, variance=4.0)
    >>> y = fixinit.theory.calculus.normalize_by_input(x, epsilon=0.0)
    >>> round(y.mean_value, 9), round(y.mean_square, 9)
    (0.0, 1.0)

    Args:
        x: `fixinit.theory.Moments`.
        epsilon: float, added to the variance.
        center: bool. Whether the mean is subtracted; `True` by default.
        by_square: bool. Whether values are divided by their root mean square instead
            of their deviation, as in RMSNorm.
        channels: int. Number of channels that are normalized together, all by default.
        space: bool. Whether all positions are normalized together.

    Returns:
        `Moments` of the shape of `x`.
    """
    check_variance("epsilon", epsilon)
    if channels is not None:
        check_size("channels", channels)
    shape, rank = x.shape, len(x.shape)
    mean, same, cross, count = x.mean, x.same, x.cross, channels
    if channels is None:
        # Many channels of all groups: their average is what is expected.
        mean, same, cross = (
            np.tensordot(x.shares, a, (0, 0))[None] for a in (mean, same, cross)
        )
        count = x.total_channels
    square, together = diagonal(same, shape), outer(mean, shape)
    # The covariance of the mean over channels, in one input and in two.
    spreads = [(pairs - together) / count for pairs in (same, cross)]
    if space:
        mean, square = (_lift(x.average(a), rank) + 0 * a for a in (mean, square))
    means, pairs, variance = x.mean, [x.same, x.cross], square
    if center:
        means = means - mean
        pairs = [
            _centered(x, values, mean, spread, space)
            for values, spread in zip(pairs, spreads, strict=True)
        ]
    if not by_square:
        lost = spreads[0]
        lost = _lift(x.pair_average(lost), rank) if space else diagonal(lost, shape)
        variance = square - mean**2 - lost
    variance = _without_rounding(variance, square)
    factor = 1 / np.sqrt(np.broadcast_to(variance + epsilon, mean.shape))
    scale = outer(factor, shape)
    y = x.like(means * factor, *(values * scale for values in pairs))
    y.node.link((x,), lambda g: [g * factor**2])
    return _remember(x, y, factor, center)


def _centered(
    x: Moments, pairs: np.ndarray, mean: np.ndarray, spread: np.ndarray, space: bool
) -> np.ndarray:
    """Moments of pairs of `x` minus its mean over channels, and over space or not.

    Args:
        x: `Moments`.
        pairs: Array, `x.same` or `x.cross`.
        mean: Array, what is subtracted on average.
        spread: Array, the covariance of what is subtracted.
        space: bool. Whether all positions are normalized together.
    """
    shape = x.shape
    a, b = first(mean, shape), second(mean, shape)
    drift = a * b - (first(x.mean, shape) * b + a * second(x.mean, shape))
    if not space:
        return pairs + drift - spread
    rows = row_average(spread, shape)
    drift = drift + _lift(x.pair_average(spread), len(shape))
    return pairs + drift - first(rows, shape) - second(rows, shape)


def _remember(
    x: Moments, y: Moments, factor: np.ndarray, center: bool = True
) -> Moments:
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
        ratio = y.average(y.squares - y.mean**2) / y.average(squares - means**2)
    else:
        ratio = y.average(y.squares) / y.average(squares)
    scale = float(np.sqrt(ratio)[0])
    if not 0 < scale < np.inf:
        # Constants have no law to remember.
        return y
    shift = float((y.average(y.mean) - scale * y.average(means))[0]) if center else 0.0
    function = compose(PiecewiseLinear((), [scale], [shift]), function)
    deviation = np.sqrt(variance)
    means_of_pairs = first(mean, shape), second(mean, shape)
    deviations = first(deviation, shape), second(deviation, shape)
    same, cross = (
        outer(mean, shape)
        + outer(deviation, shape)
        * function.correlation(means_of_pairs, deviations, joint)
        for joint in (y.same, y.cross)
    )
    own = mean**2 + variance
    changed = base.like(mean, set_diagonal(same, shape, own), cross)
    gain = (factor / scale) ** 2
    changed.node.link((base,), lambda g: [g * gain])
    y.latent = changed, function
    return y


def _without_rounding(variance: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Sets to zero what rounding leaves of a variance that is zero."""
    return np.where(variance < 1e-12 * square, 0.0, variance)


def _lift(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape(len(values), *(1,) * rank)
