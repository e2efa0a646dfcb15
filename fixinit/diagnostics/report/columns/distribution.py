"""Shape of the distribution of numbers: kurtosis and histogram."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from fixinit._typing import Tensor

# Number of bins of a histogram.
BINS = 32
# Of the largest magnitude; a smaller spread is rounding in float32.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """Histogram of numbers, in bins of one width from the smallest to the largest.

    Example:

    >>> edges, shares = np.linspace(0, 8, 5), np.array([0.5, 0.25, 0.25, 0.0])
    >>> histogram = fixinit.diagnostics.Histogram(edges, shares)
    >>> histogram.centers.tolist()
    [1.0, 3.0, 5.0, 7.0]

    Attributes:
        edges: Array of shape `(num_bins + 1,)`.
        shares: Array of shape `(num_bins,)`. The share of all numbers in each bin.
    """

    edges: np.ndarray
    shares: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        """Array of shape `(num_bins,)`: the middles of the bins."""
        return (self.edges[:-1] + self.edges[1:]) / 2


@dataclasses.dataclass(frozen=True)
class Kurtosis:
    """Kurtosis E (h - E h)^4 / (E (h - E h)^2)^2, over everything: 3 if Gaussian.

    NaN where all numbers are the same. Infinities count as 0.
    """

    size = 1

    def __call__(self, h: Tensor) -> Tensor:
        """Observes a float32 tensor."""
        h = _finite(h)
        peak = ops.max(ops.abs(h))
        h = h / ops.where(peak > 0, peak, ops.ones_like(peak))
        h = h - ops.mean(h)
        spread = ops.sqrt(ops.mean(ops.square(h)))
        is_spread = spread > _ROUNDING
        h = h / ops.where(is_spread, spread, ops.ones_like(spread))
        # 0 / 0 where there is no spread.
        one = ops.cast(is_spread, "float32")
        return ops.reshape(ops.mean(ops.square(ops.square(h))) * one / one, (1,))

    def columns(self, observed: np.ndarray, scale: float) -> Mapping[str, float]:
        """The column that what was observed gives."""
        return {"kurtosis": float(observed[0])}


@dataclasses.dataclass(frozen=True)
class Counting:
    """Observes a `Histogram`. What is not finite counts as 0."""

    size = BINS + 2

    def __call__(self, h: Tensor) -> Tensor:
        """Observes a float32 tensor: the smallest, the largest, and the shares."""
        h = ops.reshape(_finite(h), (-1,))
        low, high = ops.min(h), ops.max(h)
        # Halves, so that the difference does not overflow.
        width = high / 2 - low / 2
        width = ops.where(width > 0, width, ops.ones_like(width))
        place = ops.floor((h / 2 - low / 2) / width * BINS)
        place = ops.cast(ops.clip(place, 0, BINS - 1), "int32")
        counts = ops.segment_sum(ops.ones_like(place), place, BINS)
        shares = ops.cast(counts, "float32") / max(1, h.shape[0])
        return ops.concatenate([ops.stack([low, high]), shares])

    def columns(self, observed: np.ndarray, scale: float) -> Mapping[str, Any]:
        """The column that what was observed of numbers times `scale` gives."""
        low, high, *shares = observed.tolist()
        edges = np.linspace(low / scale, high / scale, BINS + 1)
        return {"histogram": Histogram(edges, np.array(shares))}


def _finite(h: Tensor) -> Tensor:
    return ops.where(ops.isfinite(h), h, ops.zeros_like(h))
