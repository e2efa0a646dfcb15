"""Mean-field theory of one activation function: fixed points and depth scales.

A wide network with weights of variance `sigma_w^2 / fan_in` and biases of variance
`sigma_b^2` maps the variance q of its pre-activations, and the correlation c of two
inputs' pre-activations, from layer to layer.
"""

import math

import numpy as np
from scipy import optimize

from fixinit._typing import ArrayLike
from fixinit._validation import check_number, check_numbers, check_variance
from fixinit.theory.gaussian import activations
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.slopes import slopes


class MeanField:
    """Maps of variance, correlation and gradient from layer to layer.

    With `phi` the activation and u, v standard normal of correlation c, layer by
    layer

        q <- weight_variance * E[phi(sqrt(q) u)^2] + bias_variance
        c <- (weight_variance * E[phi(sqrt(q) u) phi(sqrt(q) v)] + bias_variance) / q

    and gradients are multiplied by `chi_1 = weight_variance * E[phi'(sqrt(q) u)^2]`.

    Example:

    >>> edge = fixinit.theory.MeanField("relu", weight_variance=2.0)
    >>> round(float(edge.variance_map(3.0)), 9), float(edge.gradient_factor(3.0))
    (3.0, 1.0)
    >>> chaotic = fixinit.theory.MeanField("tanh", 2.5**2, bias_variance=0.09)
    >>> bool(chaotic.gradient_factor() > 1), chaotic.phase
    (True, 'chaotic')

    Args:
        activation: Name (see `fixinit.theory.activation`) or
            `fixinit.theory.Function`.
        weight_variance: float. `sigma_w^2`, the variance of a weight times fan_in:
            the `scale` of `keras.initializers.VarianceScaling(mode="fan_in")`.
        bias_variance: float. `sigma_b^2`.

    Raises:
        ValueError: If an argument is outside its range.

    References:

    - [Poole et al., 2016](https://arxiv.org/abs/1606.05340)
    - [Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)
    - [Hayou et al., 2019](https://arxiv.org/abs/1902.06853)
    """

    def __init__(
        self,
        activation: str | Function,
        weight_variance: float,
        bias_variance: float = 0.0,
    ) -> None:
        self.activation = activations.check_function(activation)
        self.weight_variance = check_number(
            "weight_variance", weight_variance, "a positive number", lambda x: x > 0
        )
        self.bias_variance = check_number(
            "bias_variance", bias_variance, "a number of at least 0", lambda x: x >= 0
        )

    def variance_map(self, variance: ArrayLike) -> np.ndarray:
        """The variance of the next layer's pre-activations.

        Args:
            variance: Array, not negative: that of this layer's.

        Returns:
            Array of that shape.
        """
        variance = check_numbers("variance", variance, low=0.0)
        second = self.activation.moments(0.0, variance)[1]
        return self.weight_variance * second + self.bias_variance

    def correlation_map(
        self, correlation: ArrayLike, variance: float | None = None
    ) -> np.ndarray:
        """The correlation of two inputs in the next layer.

        Args:
            correlation: Array in `[-1, 1]`.
            variance: float, positive. Both inputs' variance, by default the fixed
                point.

        Returns:
            Array of the shape of `correlation`.

        Raises:
            ValueError: If an argument is outside its range, or no variance is given
                and the fixed point is 0 or infinite.
        """
        q = self._variance(variance, above_zero=True)
        c = check_numbers("correlation", correlation, -1.0, 1.0)
        deviation = math.sqrt(q)
        joint = self.activation.joint_moment((0.0, 0.0), (deviation, deviation), c)
        # On the diagonal the moment itself, which needs no series.
        joint = np.where(c == 1, self.activation.moments(0.0, q)[1], joint)
        mapped = self.weight_variance * joint + self.bias_variance
        return mapped / self.variance_map(q)

    def gradient_factor(self, variance: float | None = None) -> np.ndarray:
        """`chi_1`, the factor of one layer on the gradient's mean square.

        It is also the slope of the correlation map at 1.

        Args:
            variance: float, by default the fixed point. At 0 and at infinity it is
                the limit.
        """
        q = self.fixed_point() if variance is None else variance
        if not (isinstance(q, float) and q == math.inf):
            q = check_variance("variance", q)
        # At 0 itself a kink would show its left side alone.
        q = np.clip(q, 1e-20, 1e100)
        return self.weight_variance * self.activation.moments(0.0, q)[2]

    def variance_slope(self, variance: float | None = None) -> float:
        """The slope of the variance map.

            d/dq (weight_variance * E[phi(sqrt(q) u)^2])
                = weight_variance * E[phi(sqrt(q) u) phi'(sqrt(q) u) u] / sqrt(q)

        Args:
            variance: float, positive: q, by default the fixed point.
        """
        q = self._variance(variance, above_zero=True)
        moments = slopes(self.activation, 0.0, math.sqrt(q))
        return self.weight_variance * moments.product / math.sqrt(q)

    def curvature(self, variance: float | None = None) -> float:
        """The second derivative of the correlation map at 1.

            weight_variance * q^2 * E[phi''(sqrt(q) u)^2] / Q(q)

        with Q the variance map.

        Args:
            variance: float, positive: q, by default the fixed point.

        Returns:
            float, infinite for activations with kinks, as ReLU.
        """
        q = self._variance(variance, above_zero=True)
        bent = slopes(self.activation, 0.0, math.sqrt(q)).curvature
        return float(self.weight_variance * q**2 * bent / self.variance_map(q))

    def fixed_point(self, start: float = 1.0) -> float:
        """`q*`, the variance that layers converge to.

        It is where the variance map first crosses the diagonal, from `start` on in
        the direction in which it moves.

        Args:
            start: float. The first layer's variance. ReLU on its edge of chaos
                keeps any variance, and returns this one.

        Returns:
            float. 0 if the variance vanishes (below 1e-12), and infinite if it
            diverges (above 1e12).
        """
        q = check_number("start", start, "a number of at least 0", lambda x: x >= 0)
        q = q or float(self.variance_map(0.0))
        moves = self.drift(q)
        if abs(moves) <= 1e-14 * q:
            return q
        factor = 2.0 if moves > 0 else 0.5
        while q < 1e12 if moves > 0 else q > 1e-12:
            following = factor * q
            # Where it does not move at all is the end of the way as well.
            if moves * self.drift(following) <= 0:
                ends = sorted([q, following])
                return float(optimize.brentq(self.drift, *ends, xtol=1e-300))
            q = following
        return math.inf if moves > 0 else 0.0

    def _variance(self, variance: float | None, above_zero: bool = False) -> float:
        """A variance that was given, or the fixed point."""
        given = variance is not None
        q = check_variance("variance", variance) if given else self.fixed_point()
        if above_zero and not 0 < q < math.inf:
            found = f"variance={variance}" + ("" if given else f" and q*={q}")
            raise ValueError(
                "Argument `variance` must be a positive number where the variances of "
                f"the layers vanish or diverge. Received: {found}"
            )
        return q

    def drift(self, variance: float) -> float:
        """The change of the variance in one layer."""
        variance = check_variance("variance", variance)
        with np.errstate(over="ignore"):
            second = float(self.activation.moments(0.0, variance)[1])
        # In this order a small bias is not lost beside a large variance.
        return self.weight_variance * second - variance + self.bias_variance

    def correlation_fixed_point(self, variance: float | None = None) -> float:
        """`c*`, the correlation that any two inputs converge to.

        Args:
            variance: float, by default the fixed point.

        Returns:
            float. 1 in the ordered phase and on the edge; NaN where the variance
            vanishes or diverges.
        """
        q = self._variance(variance)
        if not 0 < q < math.inf:
            return math.nan
        if self.gradient_factor(q) <= 1 + 1e-9:
            return 1.0

        def excess(c: float) -> float:
            return float(self.correlation_map(c, q)) - c

        low, high = (0.0 if excess(0.0) >= 0 else -1.0), 1 - 1e-4
        if excess(high) > 0:
            return 1.0
        return float(optimize.brentq(excess, low, high, xtol=1e-12))

    @property
    def phase(self) -> str:
        """`"ordered"`, `"critical"` or `"chaotic"`: chi_1 below, at or above 1.

        `"unbounded"` where the variance diverges: there is no fixed point.
        """
        if self.fixed_point() == math.inf:
            return "unbounded"
        factor = float(self.gradient_factor())
        if abs(factor - 1) < 1e-6:
            return "critical"
        return "ordered" if factor < 1 else "chaotic"

    def depth_scales(self, step: float = 1e-5) -> tuple[float, float]:
        """The depths over which differences of variance and of correlation decay.

        `xi_q = -1 / log |dq'/dq|` at q* and `xi_c = -1 / log |dc'/dc|` at c*.

        Args:
            step: float, of the finite differences, relative to q* and absolute in c.

        Returns:
            `(xi_q, xi_c)`: floats, in layers. Infinite on the edge of chaos; NaN where
            the variance vanishes or diverges.
        """
        check_number("step", step, "a number in (0, 0.1]", lambda x: 0 < x <= 0.1)
        q = self.fixed_point()
        if not 0 < q < math.inf:
            return math.nan, math.nan
        h = step * q
        slope_q = (self.variance_map(q + h) - self.variance_map(q - h)) / (2 * h)
        c = self.correlation_fixed_point(q)
        if c == 1.0:
            slope_c = self.gradient_factor(q)
        else:
            near = np.clip([c + step, c - step], -1.0, 1.0)
            ends = self.correlation_map(near, q)
            slope_c = (ends[0] - ends[1]) / (near[0] - near[1])
        return _depth(float(slope_q)), _depth(float(slope_c))


def _depth(slope: float) -> float:
    slope = abs(slope)
    if slope >= 1 - 1e-9:
        return math.inf
    return -1 / math.log(slope) if slope else 0.0
