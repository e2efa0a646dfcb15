"""The positions of one axis one by one, where pairs of two axes are looked at at once.

Attention compares all positions with all others, under masks that depend on both. So
the classes of `fixinit.theory.calculus.positions` are spread over the positions that
they stand for. Of a long axis some positions are taken, each of which counts for many.
"""

import functools

import numpy as np

from fixinit.theory.calculus import positions

_MOST = 256
_BORDER = 2 * positions.RESOLUTION


class Sites:
    """Positions of an axis of `n`, and how many positions each of them counts for.

    Example:

    >>> from fixinit.theory.calculus.sites import sites
    >>> sites(3).counts.tolist(), round(float(sites(1000).counts.sum()), 6)
    ([1.0, 1.0, 1.0], 1000.0)

    Attributes:
        index: Array of ints, the positions.
        counts: Array of floats.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        if n <= _MOST:
            self.index, self.counts = np.arange(n), np.ones(n)
        else:
            middle = np.linspace(_BORDER, n - 1 - _BORDER, _MOST - 2 * _BORDER)
            low, high = np.arange(_BORDER), np.arange(n - _BORDER, n)
            self.index = np.concatenate([low, np.round(middle).astype(int), high])
            each = (n - 2 * _BORDER) / len(middle)
            self.counts = np.where(
                (self.index < _BORDER) | (self.index >= n - _BORDER), 1.0, each
            )
        self._m = positions.size(n)
        # On the axis that stands for a very long one they lie closer together.
        short = positions.shortened(n)
        place = self.index
        if short < n:
            middle = np.linspace(_BORDER, short - 1 - _BORDER, _MOST - 2 * _BORDER)
            inside = np.round(middle).astype(int)
            place = np.concatenate([low, inside, high - n + short])
        self._pairs = positions.pair_classes(short)[np.ix_(place, place)]
        self._own = np.diag(self._pairs) // (self._m + 1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """`(..., classes)` as `(..., positions)`."""
        return values[..., self._own]

    def spread_pairs(self, values: np.ndarray) -> np.ndarray:
        """`(..., classes of pairs)` as `(..., positions, positions)`."""
        return values[..., self._pairs]

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The average over the positions of a class, `(..., classes)`."""
        return _averaged(values, self._own, self.counts, self._m)

    def gather_pairs(self, values: np.ndarray) -> np.ndarray:
        """The average over the pairs of a class, `(..., classes of pairs)`."""
        flat = values.reshape(*values.shape[:-2], -1)
        weights = np.multiply.outer(self.counts, self.counts).ravel()
        return _averaged(flat, self._pairs.ravel(), weights, self._m**2)

    def repeated(self, values: np.ndarray) -> np.ndarray:
        """Pairs such that sums with `counts` are those over all positions.

        A position that counts for many is seldom paired with itself.
        """
        if self.n == len(self.index):
            return values
        own = np.diagonal(values, axis1=-2, axis2=-1)
        nearest = np.where(np.arange(len(own.T)) > 0, -1, 1) + np.arange(len(own.T))
        beside = values[..., np.arange(len(nearest)), nearest]
        changed = values.copy()
        share = 1 / self.counts
        i = np.arange(len(share))
        changed[..., i, i] = share * own + (1 - share) * beside
        return changed


def _averaged(
    values: np.ndarray, classes: np.ndarray, weights: np.ndarray, count: int
) -> np.ndarray:
    """Averages over the last axis by classes; those of no entry get that of all."""
    flat = values.reshape(-1, values.shape[-1])
    sizes = np.bincount(classes, weights, minlength=count)
    found = np.empty((len(flat), count))
    for row, made in zip(flat, found, strict=True):
        sums = np.bincount(classes, row * weights, minlength=count)
        whole = sums.sum() / sizes.sum()
        made[:] = np.where(sizes > 0, sums / np.maximum(sizes, 1e-300), whole)
    return found.reshape(*values.shape[:-1], count)


@functools.lru_cache(maxsize=64)
def sites(n: int) -> Sites:
    """The `Sites` of an axis of `n` positions."""
    return Sites(n)
