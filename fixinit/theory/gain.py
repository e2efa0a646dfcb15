"""The gain of an activation: what a kernel makes up for in front of it."""

import math
from typing import Any

from fixinit._checked import checked
from fixinit._validation import check_number, check_variance
from fixinit.theory.application import apply
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.registry import Setting
from fixinit.theory.rules.activation_layers import activate

_ROUNDING = 1e-9


@checked
def activation_gain(operation: Any, variance: float = 1.0) -> float:
    """The factor that keeps the mean square through an activation: 2 for ReLU.

    `variance / E[f(z)^2]` for `z ~ N(0, variance)`. For ReLU it is the 2 of
    [He et al., 2015](https://arxiv.org/abs/1502.01852).

    Example:

    >>> fixinit.theory.activation_gain(keras.layers.ReLU())
    2.0

    Args:
        operation: Layer or operation that is an activation, or a layer that has one
            as its `activation`.
        variance: float, of what the activation reads; 1 by default.

    Returns:
        float. 1 for activations that are not 0 at 0, such as a sigmoid, whose outputs
        have a size of their own.

    Raises:
        NoRuleError: If the activation is not known.
    """
    check_number("variance", variance, "a positive number", lambda x: x > 0)
    square = activation_square(operation, variance)
    if not square:
        raise ValueError(
            "Argument `variance` must be one at which the activation passes something "
            f"on. Received: variance={variance} for {operation!r}"
        )
    # What rounding leaves at 0, as of softplus(x) - log(2), is 0.
    if activation_square(operation, 0.0) > _ROUNDING * square:
        return 1.0
    return variance / square


@checked
def variance_gain(operation: Any, variance: float = 1.0) -> float:
    """The factor that keeps the variance through an activation: 1.7129 for ReLU.

    `sqrt(variance / Var[f(z)])` for `z ~ N(0, variance)`, which networks of
    standardized kernels put behind their activations: such kernels pass on no mean.
    For ReLU it is `sqrt(2 / (1 - 1 / pi))`.

    Example:

    >>> round(fixinit.theory.variance_gain(keras.layers.ReLU()), 8)
    1.71285855

    Args:
        operation: As in `activation_gain`.
        variance: float, of what the activation reads, whose mean is 0; 1 by default.

    Returns:
        float.

    Raises:
        ValueError: If the activation passes nothing on, or its variance is not finite.
        NoRuleError: If the activation is not known.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2101.08692), section 4.2.
    """
    check_number("variance", variance, "a positive number", lambda x: x > 0)
    y = _behind(operation, variance, channels=2)  # one gates the other in GLU
    found = y.mean_square - y.mean_value**2
    if not 0 < found < math.inf:
        raise ValueError(
            "Argument `operation` must be an activation whose outputs have a positive "
            f"and finite variance for normal inputs. Received: {operation!r}, whose "
            f"outputs have the variance {found}"
        )
    return math.sqrt(variance / found)


@checked
def activation_square(operation: Any, variance: float = 1.0) -> float:
    """The mean square of an activation's output for normal inputs, `E[f(z)^2]`.

    Example:

    >>> round(fixinit.theory.activation_square(keras.layers.Activation("tanh")), 3)
    0.394

    Args:
        operation: As in `activation_gain`.
        variance: float, of what the activation reads, whose mean is 0; 1 by default.

    Returns:
        float.

    Raises:
        NoRuleError: If the activation is not known.
    """
    check_variance("variance", variance)
    return _behind(operation, variance).mean_square


def _behind(operation: Any, variance: float, channels: int = 1) -> Moments:
    """The moments of an activation's outputs for normal inputs of mean 0."""
    if isinstance(operation, type) or not hasattr(operation, "call"):
        raise TypeError(
            "Argument `operation` must be a Keras layer or a recorded operation. "
            f"Received: operation={operation!r}. For a function use "
            "fixinit.theory.critical_scale, or keras.layers.Activation(function)."
        )
    setting = Setting(operation.name, False, None, (channels,))
    x = Moments.inputs((channels,), 0.0, variance)
    kernels = ("kernel_initializer", "pointwise_initializer", "depthwise_initializer")
    if any(hasattr(operation, name) for name in kernels):
        return activate(x, operation.activation, setting)
    return apply(operation, setting, (x,), {})[0]
