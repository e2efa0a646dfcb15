"""Rules for activation layers, and for the `activation` argument of other layers."""

import inspect
import math
from typing import Any

import keras
import numpy as np
from keras.layers import Layer
from scipy import optimize

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation import apply_activation
from fixinit.theory.gaussian import activations
from fixinit.theory.gaussian.piecewise import PiecewiseLinear
from fixinit.theory.registry import Setting, find, find_by_key, register
from fixinit.theory.rules.initializers import weight_moments


def activate(x: Moments, activation: Any, setting: Setting) -> Moments:
    """Applies what a layer has as `activation`: a function, a layer or `None`."""
    if activation is None or activation is keras.activations.linear:
        return x
    rule = find(activation) if isinstance(activation, keras.layers.Layer) else None
    if rule is not None:
        return rule(activation, setting, x)
    rule = find_by_key(activation)
    if rule is not None:
        return calculus.apply(x, rule(activation))
    name = _name(activation)
    if name in _VECTOR:
        return _VECTOR[name](x)
    if name in activations.names():
        return calculus.apply(x, activations.activation(name))
    y = apply_activation(x, activation, setting)
    if y is not None:
        return y
    raise NoRuleError(
        f"No variance rule for the activation {activation!r} of `{setting.name}`, "
        "whose outputs depend on more than the input at their own place, or which "
        "cannot be called on tensors of other shapes. Register one: "
        "`@fixinit.theory.register(my_activation)` on a function that returns its "
        "`fixinit.theory.Function`."
    )


def _name(activation: Any) -> str:
    """The name of an activation function of Keras, empty for others."""
    name = getattr(activation, "__name__", "")
    known = (getattr(module, name, None) for module in (keras.activations, keras.ops))
    # A threshold needs arguments.
    return name if activation in known and name != "threshold" else ""


# Classes of `keras.ops` and `keras.activations` with the names of their functions.
_SNAKE = {
    "".join(part.capitalize() for part in name.split("_")): name
    for name in activations.names()
}
_SNAKE |= {"ReLU": "relu", "Relu": "relu", "Relu6": "relu6", "Exp": "exponential"}


@register(*_SNAKE)
def recorded_activation(operation: Any, setting: Setting, x: Moments) -> Moments:
    name = _SNAKE[type(operation).__name__]
    factory = inspect.signature(activations.factory(name)).parameters
    arguments = {
        key: getattr(operation, key) for key in factory if hasattr(operation, key)
    }
    return calculus.apply(x, activations.activation(name, **arguments))


@register(keras.layers.Activation)
def activation(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return activate(x, layer.activation, setting)


@register(keras.layers.ReLU)
def relu(layer: Layer, setting: Setting, x: Moments) -> Moments:
    function = activations.activation(
        "relu",
        negative_slope=float(layer.negative_slope),
        max_value=None if layer.max_value is None else float(layer.max_value),
        threshold=float(layer.threshold),
    )
    return calculus.apply(x, function)


@register(keras.layers.LeakyReLU)
def leaky_relu(layer: Layer, setting: Setting, x: Moments) -> Moments:
    slope = float(layer.negative_slope)
    return calculus.apply(x, activations.activation("leaky_relu", negative_slope=slope))


@register(keras.layers.ELU)
def elu(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.apply(x, activations.activation("elu", alpha=float(layer.alpha)))


@register(keras.layers.PReLU)
def prelu(layer: Layer, setting: Setting, x: Moments) -> Moments:
    mean, variance = weight_moments(layer.alpha_initializer, setting.output_shape)
    if variance:
        raise NoRuleError(
            f"No variance rule for PReLU `{setting.name}`, which draws its slopes at "
            "random. Only constant ones have one. Register a rule for a subclass."
        )
    return calculus.apply(x, PiecewiseLinear([0.0], [mean, 1.0]))


@register(keras.layers.Softmax)
def softmax_layer(layer: Layer, setting: Setting, x: Moments) -> Moments:
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if list(axes) not in ([-1], [len(x.shape) + 1]):
        raise NoRuleError(
            f"No variance rule for Softmax `{setting.name}` over other axes than the "
            f"last. Received: axis={layer.axis}"
        )
    return calculus.softmax(x)


def sparsemax(x: Moments) -> Moments:
    """`max(h - t, 0)` with the t at which very many channels sum to 1."""

    def excess(threshold: float) -> float:
        ramp = PiecewiseLinear([threshold], [0.0, 1.0])
        mean = ramp.moments(x.mean, np.maximum(x.squares - x.mean**2, 0))[0]
        return x.total_channels * float(x.shares @ x.average(mean)) - 1

    reach = 40 * math.sqrt(x.mean_square) + 2
    threshold = optimize.brentq(excess, -reach, reach)
    return calculus.apply(x, PiecewiseLinear([threshold], [0.0, 1.0]))


def glu(x: Moments) -> Moments:
    """`a * sigmoid(b)`: the halves of the channels have different weights."""
    half = x.total_channels // 2
    a, b = (_channels(x, low, low + half) for low in (0, half))
    gate = calculus.apply(b, activations.activation("sigmoid"))
    gate.sources = frozenset([object()])
    return calculus.multiply([a, gate])


_VECTOR = {
    "softmax": calculus.softmax,
    "log_softmax": calculus.log_softmax,
    "sparsemax": sparsemax,
    "glu": glu,
}


def _channels(x: Moments, low: int, high: int) -> Moments:
    """Some of the channels."""
    ends = np.cumsum(x.channels)
    counts = np.clip(ends, low, high) - np.clip(ends - x.channels, low, high)
    keep = counts > 0
    y = Moments(
        x.shape, counts[keep], x.mean[keep], x.same[keep], x.cross[keep], x.sources
    )
    shares = (counts / x.channels).reshape(-1, *(1,) * len(x.shape))
    into = x.mean.shape

    def pull(g: np.ndarray) -> list[np.ndarray]:
        result = np.zeros(into)
        result[keep] = g
        return [result * shares]

    y.node.link((x,), pull)
    return y
