"""Element-wise functions and their expectations under a Gaussian."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fixinit._checked import check_fields
from fixinit._typing import ArrayLike
from fixinit.theory.gaussian import quadrature

_NEWTON_STEPS = 12


@dataclasses.dataclass(frozen=True)
class Function:
    """A smooth element-wise function whose Gaussian expectations are integrated.

    For `u` and `v` jointly Gaussian the library needs `E[f(u)]`, `E[f(u)^2]`,
    `E[f'(u)^2]` and `E[f(u) f(v)]`. The first three are integrals over panels that
    end where the function bends. The last is the sum over Hermite coefficients
    `sum_n a_n(u) a_n(v) corr(u, v)^n` (Mehler's formula), in which the
    rest of `E[f(u)^2]` counts as the first term that is left out.

    Example:

    >>> square = fixinit.theory.Function(lambda x: x**2, lambda x: 2 * x)
    >>> mean, second, slope = square.moments(mean=1.0, variance=4.0)
    >>> round(float(mean), 9), round(float(second), 9), round(float(slope), 9)
    (5.0, 73.0, 20.0)

    Args:
        value: Callable from an array to an array of its shape, vectorized NumPy.
        derivative: Its derivative, likewise.
        kinks: Points where the function or its derivative jumps.
    """

    value: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    kinks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, x: ArrayLike) -> Any:
        return self.value(np.asarray(x, "float64"))

    def moments(
        self, mean: ArrayLike, variance: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`E[f(u)]`, `E[f(u)^2]` and `E[f'(u)^2]` for `u ~ N(mean, variance)`.

        Args:
            mean: Array.
            variance: Array that broadcasts against `mean`, not negative.

        Returns:
            Three arrays of the common shape.
        """

        def values(x: np.ndarray) -> list[np.ndarray]:
            value = self.value(x)
            return [value, value**2, self.derivative(x) ** 2]

        first, second, slope = expectations(values, mean, variance, self.kinks)
        return first, second, slope

    def joint_moment(
        self,
        means: tuple[ArrayLike, ArrayLike],
        deviations: tuple[ArrayLike, ArrayLike],
        correlation: np.ndarray,
    ) -> np.ndarray:
        """`E[f(u) f(v)]` for jointly Gaussian `u` and `v`.

        Args:
            means: Two arrays, the means of `u` and of `v`.
            deviations: Two arrays, their standard deviations.
            correlation: Array, in `[-1, 1]`.

        Returns:
            Array of the common shape of all arguments.
        """
        # Both at once: what u and v have in common is integrated once.
        m, n, s, t = np.broadcast_arrays(*means, *deviations)
        total = np.zeros(())
        for a, b in reversed(self._coefficients(np.stack([m, n]), np.stack([s, t]))):
            total = total * correlation + a * b
        return total

    def correlation(
        self,
        means: tuple[ArrayLike, ArrayLike],
        deviations: tuple[ArrayLike, ArrayLike],
        joint: np.ndarray,
    ) -> np.ndarray:
        """The correlation of `u` and `v` at which `E[f(u) f(v)]` has a given value.

        Newton's method on Mehler's sum, from 1 downwards. A value that no correlation
        reaches gets the correlation of the nearest one.

        Args:
            means, deviations: As in `joint_moment`.
            joint: Array.

        Returns:
            Array of the common shape of all arguments, in `[-1, 1]`.
        """
        first, second = (
            Function._coefficients(self, mean, deviation)
            for mean, deviation in zip(means, deviations, strict=True)
        )
        terms = [a * b for a, b in zip(first, second, strict=True)]

        def value_and_slope(rho: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value = slope = np.zeros(rho.shape)
            for term in reversed(terms):
                slope = slope * rho + value
                value = value * rho + term
            return value, slope

        rho = np.ones(np.shape(terms[0]))
        for _ in range(_NEWTON_STEPS):
            value, slope = value_and_slope(rho)
            rho = np.clip(rho - (value - joint) / np.maximum(slope, 1e-300), -1, 1)
        # An even function has no joint moments below its squared mean.
        nearer = np.abs(value_and_slope(rho)[0] - joint) < np.abs(terms[0] - joint)
        return np.where(nearer, rho, 0.0)

    def _coefficients(self, mean: ArrayLike, deviation: ArrayLike) -> list[np.ndarray]:
        """Hermite coefficients, the last of which stands for all that follow."""
        (mean, deviation), restore = _distinct(mean, deviation)
        z, weights = quadrature.nodes(mean, deviation, self.kinks)
        value = self.value(mean[:, None] + deviation[:, None] * z)
        coefficients = quadrature.hermite_coefficients(z, weights, value)
        energy = np.sum(weights * value**2, axis=-1)
        rest = energy - np.sum(np.square(coefficients), axis=0)
        coefficients.append(np.sqrt(np.maximum(rest, 0.0)))
        return [restore(a) for a in coefficients]


@dataclasses.dataclass(frozen=True)
class Exponential(Function):
    """`exp(x)`, whose expectations are those of a log-normal distribution."""

    value: Callable[[Any], Any] = np.exp
    derivative: Callable[[Any], Any] = np.exp

    def moments(
        self, mean: ArrayLike, variance: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean, variance = np.asarray(mean), np.asarray(variance)
        second = np.exp(2 * mean + 2 * variance)
        return np.exp(mean + variance / 2), second, second

    def joint_moment(
        self,
        means: tuple[ArrayLike, ArrayLike],
        deviations: tuple[ArrayLike, ArrayLike],
        correlation: np.ndarray,
    ) -> np.ndarray:
        m, n, s, t = (np.asarray(x, "float64") for x in (*means, *deviations))
        return np.exp(m + n + (s**2 + t**2) / 2 + s * t * correlation)


def expectations(
    values: Callable[[np.ndarray], Sequence[np.ndarray]],
    mean: ArrayLike,
    variance: ArrayLike,
    kinks: tuple[float, ...] = (),
) -> list[np.ndarray]:
    """`E[f(u)]` of several functions of `u ~ N(mean, variance)`, integrated.

    Args:
        values: Callable from points to the list of the functions' values there.
        mean, variance: Arrays of one shape.
        kinks: Points where one of the functions or its derivative jumps.

    Returns:
        List of arrays of that shape.
    """
    (mean, deviation), restore = _distinct(mean, np.sqrt(variance))
    z, weights = quadrature.nodes(mean, deviation, kinks)
    points = mean[:, None] + deviation[:, None] * z
    return [restore(np.sum(weights * value, axis=-1)) for value in values(points)]


def compose(outer: Function, inner: Function) -> Function:
    """The function `outer(inner(x))`."""
    compose_exactly = getattr(inner, "then", None)
    if compose_exactly and hasattr(outer, "then"):
        return compose_exactly(outer)
    return _combined(
        lambda x: outer.value(inner.value(x)),
        lambda x: outer.derivative(inner.value(x)) * inner.derivative(x),
        tuple(inner.kinks),
    )


def product(first: Function, second: Function) -> Function:
    """The function `first(x) * second(x)`."""
    return _combined(
        lambda x: first.value(x) * second.value(x),
        lambda x: (
            first.derivative(x) * second.value(x)
            + first.value(x) * second.derivative(x)
        ),
        (*first.kinks, *second.kinks),
    )


def total(first: Function, second: Function) -> Function:
    """The function `first(x) + second(x)`."""
    add_exactly = getattr(first, "plus", None)
    if add_exactly and hasattr(second, "plus"):
        return add_exactly(second)
    return _combined(
        lambda x: first.value(x) + second.value(x),
        lambda x: first.derivative(x) + second.derivative(x),
        (*first.kinks, *second.kinks),
    )


def _combined(
    value: Callable[[Any], Any],
    derivative: Callable[[Any], Any],
    kinks: tuple[float, ...],
) -> Function:
    """A function of others, which sums of sums would call twice as often each time."""
    return Function(_once(value), _once(derivative), kinks)


def _once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`function`, which is not computed again for the very array of its last call."""
    last: tuple[Any, Any] = (None, None)

    def call(x: Any) -> Any:
        nonlocal last
        if last[0] is not x:
            last = x, function(x)
        return last[1]

    return call


def _distinct(
    mean: ArrayLike, deviation: ArrayLike
) -> tuple[tuple[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """The distinct pairs of two arrays, and what restores their shape.

    Positions that mirror each other, and channels that are alike, are computed once.
    """
    mean, deviation = np.broadcast_arrays(
        np.asarray(mean, "float64"), np.asarray(deviation, "float64")
    )
    shape: tuple[int, ...] = mean.shape
    if mean.size == 1:
        return (mean.reshape(1), deviation.reshape(1)), lambda y: y.reshape(shape)
    pairs = np.stack([mean.ravel(), deviation.ravel()])
    # Rounded, because sums in another order differ in the last digits.
    keys = quadrature.rounded(pairs)
    # Numbers of single values are sorted much faster than pairs.
    codes = [np.unique(key, return_inverse=True)[1].ravel() for key in keys]
    code = codes[0] * (codes[1].max(initial=0) + 1) + codes[1]
    _, index, inverse = np.unique(code, return_index=True, return_inverse=True)
    distinct = pairs[0, index], pairs[1, index]
    return distinct, lambda y: y[inverse.ravel()].reshape(shape)
