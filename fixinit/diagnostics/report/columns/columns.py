"""The measures of `diagnose` that are taken where they are asked for."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from fixinit._typing import Tensor
from fixinit._validation import check_choice
from fixinit.diagnostics.report.columns.distribution import Counting, Kurtosis
from fixinit.diagnostics.report.columns.formats import FORMATS, FormatShares

_OBSERVED: dict[str, Any] = {
    **{name: FormatShares(name) for name in FORMATS},
    "kurtosis": Kurtosis(),
    "histograms": Counting(),
}
# What a graph and the shapes in it tell.
_COUNTED = ("flops", "bytes")
MEASURES = (*_COUNTED, *_OBSERVED)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of a report that were asked for.

    Args:
        names: Tuple of strings, some of `MEASURES`.

    Attributes:
        counts: bool. Whether costs are asked for.
        size: int. How many numbers are observed of an activation, or of a gradient.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, measures: Sequence[str]) -> "Columns":
        """The columns of `MEASURES` that the argument `measures` names."""
        return cls(tuple(name for name in measures if name in MEASURES))

    @property
    def counts(self) -> bool:
        return any(name in _COUNTED for name in self.names)

    @functools.cached_property
    def _parts(self) -> list[Any]:
        return [_OBSERVED[name] for name in self.names if name in _OBSERVED]

    @property
    def size(self) -> int:
        return sum(part.size for part in self._parts)

    def read(self, observed: np.ndarray, scale: float = 1.0) -> dict[str, Any]:
        """The columns that `size` observed numbers give.

        Args:
            observed: Array of shape `(size,)`.
            scale: float. What was observed is so many times as large as it should be.
        """
        found: dict[str, Any] = {}
        start = 0
        for part in self._parts:
            found.update(part.columns(observed[start : start + part.size], scale))
            start += part.size
        return found

    def appended(self, observed: Tensor, h: Tensor) -> Tensor:
        """Appends what is observed of a tensor to other observations of it."""
        if not self._parts:
            return observed
        return ops.concatenate([observed, *(part(h) for part in self._parts)])


def check_measures(measures: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """Refuses measures of another name than those that are allowed."""
    return tuple(dict.fromkeys(check_choice("measures", m, allowed) for m in measures))
