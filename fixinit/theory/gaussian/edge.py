"""The weight variance at which one activation function is critical."""

import math
from typing import Any

import numpy as np
from scipy import optimize

from fixinit._typing import ArrayLike
from fixinit._validation import check_choice, check_number, check_numbers
from fixinit.theory.gaussian import activations
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.mean_field import MeanField

_TINY = 1e-300  # what is left of a normal density very far out


def edge_of_chaos(
    activation: str | Function, bias_variance: ArrayLike = 0.0
) -> tuple[Any, Any]:
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
        activation: Name (see `fixinit.theory.activation`) or `fixinit.theory.Function`.
        bias_variance: float or array, `sigma_b^2`; 0 by default.

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
    phi = activations.check_function(activation)
    biases = check_numbers("bias_variance", bias_variance, low=0.0)
    points = [_edge(phi, activation, float(value)) for value in biases.ravel()]
    if not biases.ndim:
        return points[0]
    weights, variances = np.reshape(points, (*biases.shape, 2)).T
    return weights.T, variances.T


def _edge(
    phi: Function, name: str | Function, bias_variance: float
) -> tuple[float, float]:
    """One point of the curve."""
    if _scales(phi):
        slope = float(phi.moments(0.0, 1.0)[2])
        if bias_variance == 0:
            return 1 / slope, 1.0
        raise ValueError(
            "Under an activation that scales, such as ReLU, biases add up on the edge "
            f"of chaos. Received: bias_variance={bias_variance}. Pass 0."
        )

    def excess(log_q: float) -> float:
        """The bias variance at which q is the fixed point, minus the given one."""
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


def _attracts(
    phi: Function,
    weight_variance: float,
    bias_variance: float,
    q: float,
    step: float = 1e-3,
) -> bool:
    """Whether a variance near a fixed point moves no further away from it."""
    field = MeanField(phi, weight_variance, bias_variance)
    above = (1 + step) * q if q else step
    below = (1 - step) * q
    # Rounding of the variances, which near q = 0 change by little more than that.
    slack = 1e-9 * above
    return field.drift(above) <= slack and field.drift(below) >= -slack


def critical_scale(
    activation: str | Function, variance: float = 1.0, keep: str = "variance"
) -> float:
    """The `scale` of `VarianceScaling` that keeps signals of a given variance.

    Example:

    >>> fixinit.theory.critical_scale("relu")
    2.0
    >>> round(fixinit.theory.critical_scale("tanh", variance=1.0), 3)
    2.536

    Args:
        activation: Name or `fixinit.theory.Function` of the activation in front of the
            weight layer.
        variance: float. The variance of the pre-activations; 1 by default.
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
    moments = activations.check_function(activation).moments(0.0, variance)
    lost, kept = (moments[2], 1.0) if keep == "gradient" else (moments[1], variance)
    if not lost > _TINY * kept:
        raise ValueError(
            f"The activation passes nothing on at this variance. Received: "
            f"activation={activation!r}, variance={variance}. Pass a larger one."
        )
    return kept / float(lost)


def _scales(phi: Function) -> bool:
    """Whether `phi(a x) = a phi(x)` for positive a."""
    x = np.array([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0])
    return bool(np.allclose(phi(7 * x), 7 * phi(x), rtol=1e-12, atol=0))
