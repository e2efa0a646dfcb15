"""Functions that compare all channels: softmax and its logarithm."""

from collections.abc import Callable

import numpy as np

from fixinit._checked import checked
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, outer, second, set_diagonal
from fixinit.theory.gaussian import quadrature
from fixinit.theory.gaussian.sums_of_exponentials import Probabilities, probabilities

# Of logits that have overflowed.
_LARGEST = 1e6


@checked
def softmax(x: Moments) -> Moments:
    """Computes `exp(h_i) / sum_j exp(h_j)` over the channels.

    Mean, mean square and gradient are exact for any number of independent channels.
    Moments of pairs are those of log-normal values between the two ends that are known,
    logits without correlation and equal ones: `m m' exp(rho log(E[p^2] / m^2))`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((2,), variance=100.0)
    >>> y = fixinit.theory.calculus.softmax(x)
    >>> round(y.mean_value, 9), y.mean_square < 0.5
    (0.5, True)

    Args:
        x: `fixinit.theory.Moments`.

    Returns:
        `Moments` of the shape of `x`.
    """
    found = _Expectations(x)
    mean = found.of_groups(lambda p: p.mean)
    square = found.of_groups(lambda p: p.square)
    spread = np.sqrt(np.maximum(np.log(square / mean**2), 0.0))
    shape = x.shape
    same, cross = (
        outer(mean, shape) * np.exp(rho * outer(spread, shape))
        for rho in _correlations(x)
    )
    y = x.like(mean, set_diagonal(same, shape, square), cross)
    slope = found.of_pairs_of_groups(lambda p: p.slope)
    y.node.link((x,), lambda g: [np.sum(g[:, None] * slope, axis=0)])
    return y


@checked
def log_softmax(x: Moments) -> Moments:
    """Computes `h_i - log(sum_j exp(h_j))` over the channels.

    Mean, mean square and gradient are exact for any number of independent Gaussian
    channels. The logarithms of two sums are correlated as their terms are.

    Example:

    >>> x = fixinit.theory.Moments.inputs((1000,))
    >>> y = fixinit.theory.calculus.log_softmax(x)
    >>> round(y.mean_value, 2)  # -log(1000) - 1 / 2
    -7.41

    Args:
        x: `fixinit.theory.Moments`.

    Returns:
        `Moments` of the shape of `x`.
    """
    found, shape = _Expectations(x), x.shape
    mean = found.of_groups(lambda p: p.mean)
    square = found.of_groups(lambda p: p.square)
    log_sum = found.of_groups(lambda p: np.full(len(p.mean), p.log_sum[0]))
    variance = found.of_groups(lambda p: np.full(len(p.mean), p.log_sum[1]))
    deviation = np.sqrt(variance)
    center = x.mean - log_sum
    pairs = []
    for values, rho in zip((x.same, x.cross), _correlations(x), strict=True):
        covariance = values - outer(x.mean, shape)
        # Stein's lemma: the covariance of h_i with log S is that of h_i times E[p_i].
        with_sum = covariance * (first(mean, shape) + second(mean, shape))
        average = np.tensordot(x.shares, rho, (0, 0))[None]
        pairs.append(
            outer(center, shape)
            + covariance
            - with_sum
            + average * outer(deviation, shape)
        )
    y = x.like(center, *pairs)
    counts = x.channels.reshape(-1, *(1,) * len(shape))
    y.node.link(
        (x,),
        lambda g: [g * (1 - 2 * mean) + square * np.sum(counts * g, axis=0)],
    )
    return y


class _Expectations:
    """Expectations of probabilities at every position, computed once where alike."""

    def __init__(self, x: Moments) -> None:
        base, function = x.latent or (x, None)
        variance = np.maximum(base.squares - base.mean**2, 0.0)
        self._shape = base.mean.shape
        values = [
            np.nan_to_num(v.reshape(len(v), -1), nan=limit, posinf=limit, neginf=-limit)
            for v, limit in ((base.mean, 0.0), (np.sqrt(variance), _LARGEST))
        ]
        keys = quadrature.rounded(np.concatenate(values))
        _, index, inverse = np.unique(
            keys, axis=1, return_index=True, return_inverse=True
        )
        self._inverse = inverse.ravel()
        self._found = [
            probabilities(x.channels, values[0][:, i], values[1][:, i], function)
            for i in index
        ]

    def of_groups(self, part: Callable[[Probabilities], np.ndarray]) -> np.ndarray:
        """One of the expectations: `(groups, *positions)`."""
        found = np.stack([part(p) for p in self._found], axis=-1)
        return found[..., self._inverse].reshape(self._shape)

    def of_pairs_of_groups(
        self, part: Callable[[Probabilities], np.ndarray]
    ) -> np.ndarray:
        """One of the expectations: `(groups, groups, *positions)`."""
        found = np.stack([part(p) for p in self._found], axis=-1)
        groups, *sizes = self._shape
        return found[..., self._inverse].reshape(groups, groups, *sizes)


def _correlations(x: Moments) -> list[np.ndarray]:
    """The correlations of pairs in one input, and in two: `(groups, *pairs)`."""
    deviation = np.sqrt(np.maximum(x.squares - x.mean**2, 0.0))
    scale = np.maximum(outer(deviation, x.shape), 1e-300)
    covariances = (pairs - outer(x.mean, x.shape) for pairs in (x.same, x.cross))
    with np.errstate(invalid="ignore"):  # of what has overflowed
        return [np.nan_to_num(np.clip(c / scale, -1, 1)) for c in covariances]
