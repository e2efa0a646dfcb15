"""Piecewise linear functions: their Gaussian expectations are known exactly."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import special

from fixinit._typing import ArrayLike
from fixinit._validation import check_numbers
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.normal import (
    density,
    joint_ramps,
    standardized,
    truncated_moments,
)


@dataclasses.dataclass(frozen=True)
class PiecewiseLinear(Function):
    """A piecewise linear function with exact Gaussian expectations.

    `f(x) = slopes[i] * x + intercepts[i]` between `kinks[i - 1]` and `kinks[i]`, as for
    ReLU and its relatives; f may jump at the kinks. In terms of ramps `max(x - t, 0)`
    and steps `x > t` at the kinks t, all expectations are those of a truncated
    bivariate normal distribution, by Owen's T function. For ReLU and zero means they
    are the arc-cosine kernel.

    Example:

    >>> leaky = fixinit.theory.PiecewiseLinear([0.0], [0.1, 1.0])
    >>> mean, second, slope = leaky.moments(mean=0.0, variance=2.0)
    >>> round(float(second), 9), round(float(slope), 9)
    (1.01, 0.505)

    Args:
        kinks: Sequence of k increasing numbers.
        slopes: Sequence of k + 1 numbers.
        intercepts: Sequence of k + 1 numbers. By default the function is
            continuous and, where it has kinks, 0 at the one nearest to 0.

    References:

    - [Cho and Saul, 2009](https://papers.nips.cc/paper/3628) (arc-cosine kernel)
    - [Owen, 1956](https://doi.org/10.1214/aoms/1177728074)
    """

    value: Callable[[Any], Any] = dataclasses.field(
        init=False, repr=False, compare=False
    )
    derivative: Callable[[Any], Any] = dataclasses.field(
        init=False, repr=False, compare=False
    )
    kinks: tuple[float, ...] = ()
    slopes: tuple[float, ...] = (1.0,)
    intercepts: tuple[float, ...] = (0.0,)

    def __init__(
        self,
        kinks: ArrayLike = (),
        slopes: ArrayLike = (1.0,),
        intercepts: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        kinks, slopes = check_numbers("kinks", kinks), check_numbers("slopes", slopes)
        if (
            kinks.ndim != 1
            or slopes.ndim != 1
            or len(slopes) != len(kinks) + 1
            or np.any(np.diff(kinks) <= 0)
        ):
            raise ValueError(
                "A piecewise linear function has increasing kinks and one slope "
                f"more than kinks. Received: kinks={kinks}, slopes={slopes}"
            )
        if intercepts is None:
            steps = np.concatenate([[0.0], np.cumsum(-np.diff(slopes) * kinks)])
            nearest = int(np.argmin(np.abs(kinks))) if len(kinks) else 0
            zero = kinks[nearest] if len(kinks) else 0.0
            intercepts = steps - steps[nearest] - slopes[nearest] * zero
        intercepts = check_numbers("intercepts", intercepts)
        if intercepts.shape != slopes.shape:
            raise ValueError(
                "Argument `intercepts` must have one entry for every slope. Received: "
                f"intercepts={intercepts}, slopes={slopes}"
            )
        for name, x in (("kinks", kinks), ("slopes", slopes)):
            object.__setattr__(self, name, tuple(x.tolist()))
        object.__setattr__(self, "intercepts", tuple(map(float, intercepts)))
        object.__setattr__(self, "value", self._value)
        object.__setattr__(self, "derivative", self._derivative)

    def _value(self, x: np.ndarray) -> np.ndarray:
        piece = np.searchsorted(self.kinks, x)
        return np.take(self.slopes, piece) * x + np.take(self.intercepts, piece)

    def _derivative(self, x: np.ndarray) -> np.ndarray:
        return np.take(self.slopes, np.searchsorted(self.kinks, x))

    def then(self, outer: "PiecewiseLinear") -> "PiecewiseLinear":
        """The piecewise linear function `outer(self(x))`."""
        edges = [-np.inf, *self.kinks, np.inf]
        found = set(self.kinks)
        pieces = list(zip(self.slopes, self.intercepts, strict=True))
        for (a, b), low, high in zip(pieces, edges[:-1], edges[1:], strict=True):
            if a:
                found |= {x for t in outer.kinks if low < (x := (t - b) / a) < high}
        kinks = np.array(sorted(found))
        inside = _inside(kinks)
        piece = np.searchsorted(self.kinks, inside)
        slope, shift = np.take(self.slopes, piece), np.take(self.intercepts, piece)
        piece = np.searchsorted(outer.kinks, slope * inside + shift)
        c, d = np.take(outer.slopes, piece), np.take(outer.intercepts, piece)
        return PiecewiseLinear(kinks, slope * c, c * shift + d)._simplified()

    def plus(self, other: "PiecewiseLinear") -> "PiecewiseLinear":
        """The piecewise linear function `self(x) + other(x)`."""
        kinks = np.array(sorted({*self.kinks, *other.kinks}))
        inside = _inside(kinks)
        slopes, intercepts = np.zeros(len(inside)), np.zeros(len(inside))
        for term in (self, other):
            piece = np.searchsorted(term.kinks, inside)
            slopes = slopes + np.take(term.slopes, piece)
            intercepts = intercepts + np.take(term.intercepts, piece)
        return PiecewiseLinear(kinks, slopes, intercepts)._simplified()

    def _simplified(self) -> "PiecewiseLinear":
        keep = [
            i
            for i in range(len(self.kinks))
            if self.slopes[i] != self.slopes[i + 1]
            or self.intercepts[i] != self.intercepts[i + 1]
        ]
        pieces = [0, *(i + 1 for i in keep)]
        return PiecewiseLinear(
            np.take(self.kinks or (0.0,), keep),
            np.take(self.slopes, pieces),
            np.take(self.intercepts, pieces),
        )

    @property
    def is_linear(self) -> bool:
        """Is true for functions of one piece."""
        return not self.kinks

    def moments(
        self, mean: ArrayLike, variance: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean, deviation = np.broadcast_arrays(
            np.asarray(mean, "float64"), np.sqrt(variance)
        )
        # Moments of the standard normal over each piece, from its edges.
        edges = [np.full(mean.shape, -np.inf)]
        edges += [standardized(t - mean, deviation) for t in self.kinks]
        edges += [np.full(mean.shape, np.inf)]
        value = second = slope = np.zeros(mean.shape)
        for low, high, a, b in zip(
            edges[:-1], edges[1:], self.slopes, self.intercepts, strict=True
        ):
            if not a and not b:
                continue
            m0, m1, m2 = truncated_moments(low, high)
            c, d = a * deviation, a * mean + b
            value = value + c * m1 + d * m0
            second = second + c**2 * m2 + 2 * c * d * m1 + d**2 * m0
            slope = slope + a**2 * m0
        return value, second, slope

    def joint_moment(
        self,
        means: tuple[ArrayLike, ArrayLike],
        deviations: tuple[ArrayLike, ArrayLike],
        correlation: np.ndarray,
    ) -> np.ndarray:
        m, n, s, t = (np.asarray(x, "float64") for x in (*means, *deviations))
        a, b = self.slopes[0], self.intercepts[0]
        covariance = s * t * correlation
        # The part that is linear everywhere, with itself and with each kink.
        total = (a * m + b) * (a * n + b) + a**2 * covariance
        kinks = self._kink_parts()
        for kink, ramp, step in kinks:
            for (mu, sd), (nu, _) in (((m, s), (n, t)), ((n, t), (m, s))):
                h = standardized(mu - kink, sd)
                above, height = special.ndtr(h), density(h)
                part = ramp * ((mu - kink) * above + sd * height) + step * above
                # Stein's lemma: the covariance of v with g(u) is cov E[g'(u)].
                slope = ramp * above * covariance
                if step:
                    slope = slope + step * height * covariance / np.maximum(sd, 1e-300)
                total = total + (a * nu + b) * part + a * slope
        for kink_u, *part_u in kinks:
            for kink_v, *part_v in kinks:
                total = total + joint_ramps(
                    (m - kink_u, s, *part_u), (n - kink_v, t, *part_v), correlation
                )
        return total

    def _kink_parts(self) -> list[tuple[float, float, float]]:
        """`(t, change of slope, jump)` for every kink t."""
        parts = []
        for i, t in enumerate(self.kinks):
            ramp = self.slopes[i + 1] - self.slopes[i]
            jump = ramp * t + self.intercepts[i + 1] - self.intercepts[i]
            # Rounding of a continuous function is no jump.
            scale = abs(self.intercepts[i + 1]) + abs(self.intercepts[i])
            parts.append((t, ramp, jump if abs(jump) > 1e-12 * scale else 0.0))
        return parts


def _inside(kinks: np.ndarray) -> np.ndarray:
    """One point inside every piece."""
    if not len(kinks):
        return np.zeros(1)
    middle = (kinks[1:] + kinks[:-1]) / 2
    return np.concatenate([kinks[:1] - 1, middle, kinks[-1:] + 1])
