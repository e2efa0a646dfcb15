"""Expectations of probabilities `exp(h_i) / sum_j exp(h_j)` of independent logits.

With `1 / S^k = integral of t^(k-1) exp(-t S) dt / (k-1)!` and `t = exp(s)`, the
expectation of a product of probabilities is one integral over s of a product over
channels, of which each is an expectation by itself:

    E[p_i^a p_j^b] = 1 / (a+b-1)! * integral G_a(s) G_b(s) G_0(s)^(n-2) ds,
    G_a(s) = E[exp(a (h + s)) exp(-exp(h + s))]

Exact for any number of channels. `G_0(s)^n` is also the probability that
`log E - log S` exceeds s, with E exponentially distributed: its moments give those of
`log S`.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

_STEP = 0.4  # of s and h: integrands are analytic in a strip of width pi
_REACH = 8.0  # of the Gaussian, in standard deviations
_FEWEST = 65
_LARGEST = 6.5  # of h + s: exp(-exp(6.5)) is 0
# Logits that spread further are scaled down: the largest wins all the same.
_SPREAD = 400.0
_LOST = 16.0  # exp(-16) of a probability is left out
_EULER = 0.5772156649015329


@dataclasses.dataclass(frozen=True)
class Probabilities:
    """Expectations of the probabilities of channels in groups.

    Attributes:
        mean: Array `(groups,)`, `E[p]`.
        square: Array `(groups,)`, `E[p^2]`.
        slope: Array `(groups, groups)`: `E[(dp_i / dh_j)^2]` summed over the channels i
            of the first group, for a channel j of the second.
        log_sum: `(mean, variance)` of `log sum_j exp(h_j)`.
    """

    mean: np.ndarray
    square: np.ndarray
    slope: np.ndarray
    log_sum: tuple[float, float]


def probabilities(
    counts: np.ndarray,
    means: np.ndarray,
    deviations: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Probabilities:
    """Expectations for logits `h = function(u)`, `u ~ N(mean, deviation^2)`.

    Args:
        counts: Array of ints `(groups,)`, how many channels each group has.
        means, deviations: Arrays `(groups,)`.
        function: Callable from an array to an array of its shape. `None` (default) for
            `h = u`: those of attention come again in every pass through a network, and
            are kept.
    """
    if function is not None:
        return _integrated(counts, means, deviations, function)
    given = (np.asarray(x, "float64").tobytes() for x in (counts, means, deviations))
    return _of_gaussian(*given)


@functools.lru_cache(maxsize=1024)
def _of_gaussian(*given: bytes) -> Probabilities:
    counts, means, deviations = (np.frombuffer(x) for x in given)
    return _integrated(counts, means, deviations, lambda u: u)


def _integrated(
    counts: np.ndarray,
    means: np.ndarray,
    deviations: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
) -> Probabilities:
    number = float(counts.sum())
    h, weights, middle = _logits(means, deviations, function)
    s = np.arange(-h.max() - np.log(number) - _LOST, 4.0 - h.min() + _STEP, _STEP)
    log_none, *powers = _powers(h, weights, s)
    together = counts @ log_none

    def integral(integrand: np.ndarray, without: np.ndarray) -> np.ndarray:
        return np.sum(integrand * np.exp(together - without), axis=-1) * _STEP

    first, second, third, fourth = (integral(g, log_none) for g in powers)
    total = float(counts @ first)  # 1, but for what the grid leaves out
    mean = first / total
    square = np.minimum(second / total, mean)
    own = square - third / total + fourth / (6 * total)  # E[p^2 (1 - p)^2]
    others = integral(powers[1][:, None] * powers[1], log_none[:, None] + log_none) / (
        6 * total
    )
    slope = others * (counts[:, None] - np.eye(len(counts))) + np.diag(own)
    # That of log E - log S.
    density = counts @ (powers[0] * np.exp(together - log_none)) * (_STEP / total)
    center = float(density @ s)
    spread = float(density @ (s - center) ** 2) - np.pi**2 / 6
    log_sum = middle - _EULER - center, max(spread, 0.0)
    return Probabilities(mean, square, np.maximum(slope, 0.0), log_sum)


def _powers(h: np.ndarray, weights: np.ndarray, s: np.ndarray) -> list[np.ndarray]:
    """`log G_0` and `G_1` to `G_4`, arrays `(groups, s)`."""
    t = np.exp(np.minimum(h[..., None] + s, _LARGEST))
    none = np.exp(-t)
    some = np.tensordot(-np.expm1(-t), weights, (1, 0))
    log_none = np.where(
        some < 0.5,
        np.log1p(-np.minimum(some, 0.5)),
        np.log(np.maximum(np.tensordot(none, weights, (1, 0)), 1e-300)),
    )
    found = [log_none]
    for _ in range(4):
        none = none * t
        found.append(np.tensordot(none, weights, (1, 0)))
    return found


def _logits(
    means: np.ndarray,
    deviations: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, float]:
    """`(h, weights, middle)`: logits on a grid of the Gaussian, without their middle.

    Arrays of shapes `(groups, nodes)` and `(nodes,)`. The grid is as fine as the logits
    spread. Probabilities do not depend on what all logits have in common, and a grid
    around large numbers could not be as fine.
    """

    def at(count: int) -> tuple[np.ndarray, np.ndarray]:
        z = np.linspace(-_REACH, _REACH, count)
        return z, function(means[:, None] + deviations[:, None] * z)

    spread = min(float(np.ptp(at(_FEWEST)[1])), _SPREAD)
    z, h = at(max(_FEWEST, int(2 * spread / _STEP) | 1))
    middle, weights = float(h.mean()), np.exp(-(z**2) / 2)
    scale = min(1.0, _SPREAD / max(float(np.ptp(h)), 1e-300))
    return scale * (h - middle), weights / weights.sum(), middle
