"""Differences between the runs of two networks, and what counts as one."""

import dataclasses

import numpy as np

# Standard errors: 5 % of true differences of zero look larger.
CONFIDENCE = 2


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of two means, from runs that are independent of each other.

    Example:

    >>> gain = Difference.of([3.0, 3.2], [1.0, 1.2])
    >>> f"{gain:+.1f}", gain.is_positive, gain.is_below(3.0)
    ('+2.0 ± 0.1', True, True)

    Attributes:
        mean: float.
        error: float. Its standard error, `sqrt(var(a) / len(a) + var(b) / len(b))`;
            not a number where there is one run.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, a, b):
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        if min(a.size, b.size) < 2:
            return cls(float(a.mean() - b.mean()), float("nan"))
        squares = [values.var(ddof=1) / values.size for values in (a, b)]
        return cls(float(a.mean() - b.mean()), float(np.sqrt(sum(squares))))

    @property
    def is_positive(self):
        """Whether it is above zero by more than chance has it."""
        return self.mean > CONFIDENCE * self.error

    def is_below(self, margin):
        """Whether it is below a margin, chance allowed for: noise does not help."""
        return self.mean + CONFIDENCE * self.error < margin

    def __format__(self, spec):
        return f"{self.mean:{spec}} ± {abs(self.error):{spec.lstrip('+')}}"
