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

_TINY = 1e-300  # what is left of a normal density very far out


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
            variance: float, by default the fixed point. At 0 and at infinity it is
                the limit.
        """
        q = self.fixed_point() if variance is None else variance
        # At 0 itself a kink would show its left side alone.
        q = np.clip(q, 1e-20, 1e100)
        return self.weight_variance * self.activation.moments(0.0, q)[2]

    def fixed_point(self, start=1.0):
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
        moves = self._drift(q)
        if abs(moves) <= 1e-14 * q:
            return q
        factor = 2.0 if moves > 0 else 0.5
        while 1e-12 < q < 1e12:
            following = factor * q
            # Where it does not move at all is the end of the way as well.
            if moves * self._drift(following) <= 0:
                ends = sorted([q, following])
                return float(optimize.brentq(self._drift, *ends, xtol=1e-300))
            q = following
        return math.inf if moves > 0 else 0.0

    def _drift(self, variance):
        """What one layer adds to the variance."""
        with np.errstate(over="ignore"):
            second = float(self.activation.moments(0.0, variance)[1])
        # In this order a small bias is not lost beside a large variance.
        return self.weight_variance * second - variance + self.bias_variance

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
        """`"ordered"`, `"critical"` or `"chaotic"`: chi_1 below, at or above 1.

        `"unbounded"` where the variance diverges: there is no fixed point.
        """
        if self.fixed_point() == math.inf:
            return "unbounded"
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

    The curve `chi_1 = 1` at a fixed point q* that the variance converges to, as a
    function of the bias variance.

    Example:

    >>> fixinit.theory.edge_of_chaos("relu")
    (2.0, 1.0)
    >>> sigma_w2, q = fixinit.theory.edge_of_chaos("tanh", bias_variance=0.05**2)
    >>> round(sigma_w2, 2), round(q, 2)
    (1.26, 0.15)

    Args:
        activation: Name or `fixinit.theory.Function`.
        bias_variance: float or array, `sigma_b^2`.

    Returns:
        `(weight_variance, variance)`: `sigma_w^2`, and the fixed point q* there, both
        floats, or arrays like `bias_variance`. Functions that scale, such as ReLU,
        keep any variance: 1 is returned.

    Raises:
        ValueError: If the activation has no edge at this bias variance, as ReLU
            with any bias. Also where variances move away from every point with
            `chi_1 = 1`, as with GELU and SiLU without biases: a network does not stay
            there.
    """
    phi = activations.activation(activation)
    biases = np.asarray(bias_variance)
    for value in biases.ravel().tolist():
        check_number("bias_variance", value, "a number of at least 0", lambda x: x >= 0)
    points = [_edge(phi, activation, float(value)) for value in biases.ravel()]
    if not biases.ndim:
        return points[0]
    weights, variances = np.reshape(points, (*biases.shape, 2)).T
    return weights.T, variances.T


def _edge(phi, name, bias_variance):
    """One point of the curve."""
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
        return q - second / slope - bias_variance if slope > _TINY else -math.inf

    grid = np.linspace(math.log(1e-8), math.log(1e4), 241)
    values = np.array([excess(x) for x in grid])
    found = []
    slope = float(phi.moments(0.0, 1e-20)[2])
    if bias_variance == 0 == phi(0.0) and slope > _TINY and values[0] >= -1e-15:
        # The edge starts at q = 0 where the activation is odd enough.
        found.append((1 / slope, 0.0))
    for i in np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0)):
        q = math.exp(optimize.brentq(excess, grid[i], grid[i + 1], xtol=1e-14))
        found.append((1 / float(phi.moments(0.0, q)[2]), q))
    for weight_variance, q in found:
        if _attracts(phi, weight_variance, bias_variance, q):
            return weight_variance, q
    away = "".join(
        f" At ({w:.4g}, {q:.4g}) gradients keep their size, but variances move away."
        for w, q in found
    )
    raise ValueError(
        "This activation has no edge of chaos at this bias variance. Received: "
        f"activation={name!r}, bias_variance={bias_variance}.{away} Try another, or "
        "fixinit.theory.critical_scale, which keeps a variance for one layer."
    )


def _attracts(phi, weight_variance, bias_variance, q, step=1e-3):
    """Whether a variance near a fixed point comes no further away from it."""
    field = MeanField(phi, weight_variance, bias_variance)
    above = (1 + step) * q if q else step
    below = (1 - step) * q
    # Rounding of the variances, which near q = 0 change by little more than that.
    slack = 1e-9 * above
    return field._drift(above) <= slack and field._drift(below) >= -slack


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

    Raises:
        ValueError: If an argument is outside its range, or the activation is zero
            at this variance.
    """
    check_choice("keep", keep, ("variance", "gradient"))
    check_number("variance", variance, "a positive number", lambda x: x > 0)
    moments = activations.activation(activation).moments(0.0, variance)
    lost, kept = (moments[2], 1.0) if keep == "gradient" else (moments[1], variance)
    if not lost > _TINY * kept:
        raise ValueError(
            f"The activation passes nothing on at this variance. Received: "
            f"activation={activation!r}, variance={variance}. Pass a larger one."
        )
    return kept / float(lost)


def _scales(phi):
    """Whether `phi(a x) = a phi(x)` for positive a."""
    x = np.array([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0])
    return bool(np.allclose(phi(7 * x), 7 * phi(x), rtol=1e-12, atol=0))
