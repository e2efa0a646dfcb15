"""Mean-field theory of one activation function: fixed points and depth scales.

A wide network with weights of variance `sigma_w^2 / fan_in` and biases of variance
`sigma_b^2` maps the variance q of its pre-activations, and the correlation c of two
inputs' pre-activations, from layer to layer.
"""

import math

import numpy as np
from scipy import optimize

from fixinit._validation import check_choice, check_number
from fixinit.theory import activations


class MeanField:
    """What depth does to variances, correlations and gradients, for one activation.

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

    def __init__(self, activation, weight_variance, bias_variance=0.0):
        self.activation = activations.activation(activation)
        self.weight_variance = check_number(
            "weight_variance", weight_variance, "a positive number", lambda x: x > 0
        )
        self.bias_variance = check_number(
            "bias_variance", bias_variance, "a number of at least 0", lambda x: x >= 0
        )

    def variance_map(self, variance):
        """The variance of the next layer's pre-activations."""
        second = self.activation.moments(0.0, variance)[1]
        return self.weight_variance * second + self.bias_variance

    def correlation_map(self, correlation, variance=None):
        """The correlation of two inputs in the next layer.

        Args:
            correlation: Array in `[-1, 1]`.
            variance: float. Both inputs' variance, by default the fixed point.
        """
        q = self.fixed_point() if variance is None else variance
        c, deviation = np.asarray(correlation, "float64"), math.sqrt(q)
        joint = self.activation.joint_moment((0.0, 0.0), (deviation, deviation), c)
        # On the diagonal the moment itself, which needs no series.
        joint = np.where(c == 1, self.activation.moments(0.0, q)[1], joint)
        mapped = self.weight_variance * joint + self.bias_variance
        return mapped / self.variance_map(q)

    def gradient_factor(self, variance=None):
        """`chi_1`: what one layer multiplies the gradient's mean square by.

        It is also the slope of the correlation map at 1.

        Args:
            variance: float, by default the fixed point.
        """
        q = self.fixed_point() if variance is None else variance
        return self.weight_variance * self.activation.moments(0.0, q)[2]

    def fixed_point(self, start=1.0):
        """`q*`, the variance that layers converge to.

        Args:
            start: float. The first layer's variance. ReLU on its edge of chaos
                keeps any variance, and returns this one.

        Returns:
            float. Infinite if the variance diverges.
        """
        q = float(start)
        # Steffensen's acceleration converges where plain iteration crawls.
        for _ in range(10_000):
            first = float(self.variance_map(q))
            second = float(self.variance_map(first))
            if not math.isfinite(second) or second > 1e30:
                return math.inf
            if abs(first - q) <= 1e-14 * max(q, 1e-300) or first < 1e-30:
                return 0.0 if first < 1e-30 else first
            bend = second - 2 * first + q
            jump = q - (first - q) ** 2 / bend if bend else second
            # Only where it goes on in the direction of the iteration.
            forward = (jump - first) * (first - q) > 0 and jump > 0
            q = jump if forward and jump < 10 * (q + first) else second
        return q

    def correlation_fixed_point(self, variance=None):
        """`c*`, the correlation that any two inputs converge to.

        Returns:
            float. 1 in the ordered phase and on the edge.
        """
        q = self.fixed_point() if variance is None else variance
        if not 0 < q < math.inf:
            return math.nan
        if self.gradient_factor(q) <= 1 + 1e-9:
            return 1.0

        def excess(c):
            return float(self.correlation_map(c, q)) - c

        low, high = (0.0 if excess(0.0) >= 0 else -1.0), 1 - 1e-4
        if excess(high) > 0:
            return 1.0
        return float(optimize.brentq(excess, low, high, xtol=1e-12))

    @property
    def phase(self):
        """`"ordered"`, `"critical"` or `"chaotic"`: chi_1 below, at or above 1."""
        factor = float(self.gradient_factor())
        if abs(factor - 1) < 1e-6:
            return "critical"
        return "ordered" if factor < 1 else "chaotic"

    def depth_scales(self, step=1e-5):
        """Over how many layers differences of variance and of correlation decay.

        `xi_q = -1 / log |dq'/dq|` at q* and `xi_c = -1 / log |dc'/dc|` at c*.

        Returns:
            `(xi_q, xi_c)`: floats. Infinite on the edge of chaos.
        """
        q = self.fixed_point()
        if not 0 < q < math.inf:
            return math.nan, math.nan
        h = step * q
        slope_q = (self.variance_map(q + h) - self.variance_map(q - h)) / (2 * h)
        c = self.correlation_fixed_point(q)
        if c == 1.0:
            slope_c = self.gradient_factor(q)
        else:
            ends = self.correlation_map(np.array([c + step, c - step]), q)
            slope_c = (ends[0] - ends[1]) / (2 * step)
        return _depth(float(slope_q)), _depth(float(slope_c))


def _depth(slope):
    slope = abs(slope)
    if slope >= 1 - 1e-9:
        return math.inf
    return -1 / math.log(slope) if slope else 0.0


def edge_of_chaos(activation, bias_variance=0.0):
    """The weight variances at which gradients neither vanish nor explode.

    The curve `chi_1 = 1` at the fixed point q*, as a function of the bias variance.

    Example:

    >>> fixinit.theory.edge_of_chaos("relu")
    (2.0, 1.0)
    >>> sigma_w2, q = fixinit.theory.edge_of_chaos("tanh", bias_variance=0.05**2)
    >>> round(sigma_w2, 2), round(q, 2)
    (1.26, 0.15)

    Args:
        activation: Name or `fixinit.theory.Function`.
        bias_variance: float, `sigma_b^2`.

    Returns:
        `(weight_variance, variance)`: `sigma_w^2`, and the fixed point q* there.
        Functions that scale, such as ReLU, keep any variance: 1 is returned.

    Raises:
        ValueError: If the activation has no edge at this bias variance, as ReLU
            with any bias.
    """
    phi = activations.activation(activation)
    if _scales(phi):
        slope = float(phi.moments(0.0, 1.0)[2])
        if bias_variance == 0:
            return 1 / slope, 1.0
        raise ValueError(
            "Under an activation that scales, such as ReLU, biases add up on the edge "
            f"of chaos. Received: bias_variance={bias_variance}. Pass 0."
        )

    def excess(log_q):
        """What the bias variance would have to be for q to be the fixed point."""
        q = math.exp(log_q)
        _, second, slope = (float(x) for x in phi.moments(0.0, q))
        return q - second / slope - bias_variance

    grid = np.linspace(math.log(1e-8), math.log(1e4), 241)
    values = np.array([excess(x) for x in grid])
    if bias_variance == 0 and abs(phi(0.0)) == 0:
        # The edge starts at q = 0 where the activation is odd enough.
        slope = float(phi.moments(0.0, 1e-20)[2])
        if values[0] >= -1e-15:
            return 1 / slope, 0.0
    changes = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    if not len(changes):
        raise ValueError(
            "This activation has no edge of chaos at this bias variance. Received: "
            f"activation={activation!r}, bias_variance={bias_variance}. Try another."
        )
    i = changes[0]
    q = math.exp(optimize.brentq(excess, grid[i], grid[i + 1], xtol=1e-14))
    return 1 / float(phi.moments(0.0, q)[2]), q


def critical_scale(activation, variance=1.0, keep="variance"):
    """The `scale` of `VarianceScaling` that keeps signals of a given variance.

    Example:

    >>> fixinit.theory.critical_scale("relu")
    2.0
    >>> round(fixinit.theory.critical_scale("tanh", variance=1.0), 3)
    2.536

    Args:
        activation: Name or `fixinit.theory.Function`: what stands in front of the
            weight layer.
        variance: float. The variance of the pre-activations.
        keep: `"variance"` (default): the next pre-activations have the same
            variance. `"gradient"`: the gradient's mean square stays the same.
            ReLU and its relatives do both.

    Returns:
        float, for `keras.initializers.VarianceScaling(scale, "fan_in")`.
    """
    check_choice("keep", keep, ("variance", "gradient"))
    moments = activations.activation(activation).moments(0.0, variance)
    if keep == "gradient":
        return 1 / float(moments[2])
    return variance / float(moments[1])


def _scales(phi):
    """Whether `phi(a x) = a phi(x)` for positive a."""
    x = np.array([-3.0, -1.0, 1.0, 3.0])
    return bool(np.allclose(phi(7 * x), 7 * phi(x), rtol=1e-12, atol=0))
