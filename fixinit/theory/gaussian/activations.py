"""The element-wise activation functions of Keras, by name."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from fixinit._validation import check_choice, check_number, check_variance
from fixinit.theory.gaussian.functions import Exponential, Function
from fixinit.theory.gaussian.normal import density
from fixinit.theory.gaussian.piecewise import PiecewiseLinear

_SELU = (1.0507009873554805, 1.6732632423543772)  # Klambauer et al., 2017


def activation(name: str | Function, **arguments: Any) -> Function:
    """An activation function of Keras, with its expectations under a Gaussian.

    Example:

    >>> relu6 = fixinit.theory.activation("relu", max_value=6.0)
    >>> np.abs(relu6([-1.0, 3.0, 9.0])).tolist()
    [0.0, 3.0, 6.0]

    Args:
        name: `"relu"` or another name of `keras.activations`, of those that act on
            every element by itself; or a `fixinit.theory.Function`, which is
            returned.
        **arguments: The arguments of `keras.activations.<name>`, such as
            `negative_slope`.

    Returns:
        A `fixinit.theory.Function`: exact for piecewise linear functions and
        `"exponential"`, integrated numerically for the others.

    Raises:
        ValueError: If the name is not known.
    """
    if isinstance(name, Function):
        return name
    check_choice("name", name, sorted(_ACTIVATIONS))
    for argument, value in arguments.items():
        # Such as `max_value=None` and `approximate=True`.
        if value is not None and not isinstance(value, bool):
            arguments[argument] = check_number(argument, value)
    return _made(name, tuple(sorted(arguments.items())))


def check_function(value: str | Function) -> Function:
    """The function that an argument `activation` stands for."""
    if isinstance(value, Function):
        return value
    return activation(check_choice("activation", value, sorted(_ACTIVATIONS)))


@functools.lru_cache(maxsize=256)
def _made(name: str, arguments: tuple[tuple[str, Any], ...]) -> Function:
    # One object for one function: whether two are the same is asked by identity.
    return _ACTIVATIONS[name](**dict(arguments))


def names() -> list[str]:
    """The names that `activation` takes."""
    return sorted(_ACTIVATIONS)


def factory(name: str) -> Callable[..., Function]:
    """The callable that makes the function of a name from its arguments."""
    return _ACTIVATIONS[name]


def affine(scale: float = 1.0, shift: float = 0.0) -> PiecewiseLinear:
    """The function `scale * x + shift`."""
    return PiecewiseLinear((), [scale], [shift])


def _relu(
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> PiecewiseLinear:
    slope, t = negative_slope or 0.0, threshold or 0.0
    if max_value is not None:
        max_value = check_variance("max_value", max_value)
    if max_value is None:
        return PiecewiseLinear([t], [slope, 1.0], [-slope * t, 0.0])
    # Keras clips what is above the threshold to [0, max_value].
    kinks, slopes, intercepts = [t], [slope], [-slope * t]
    if t < 0:
        kinks, slopes, intercepts = kinks + [0.0], slopes + [0.0], intercepts + [0.0]
    if t < max_value:
        kinks, slopes = kinks + [max_value], slopes + [1.0]
        intercepts = intercepts + [0.0]
    return PiecewiseLinear(kinks, slopes + [0.0], intercepts + [max_value])


def _clip(
    low: float, high: float, slope: float = 1.0, shift: float = 0.0
) -> PiecewiseLinear:
    """`slope * x + shift` between two points, constant beyond them."""
    ends = [slope * low + shift, slope * high + shift]
    return PiecewiseLinear(
        [low, high], [0.0, slope, 0.0], [ends[0], float(shift), ends[1]]
    )


def _elu(alpha: float = 1.0, scale: float = 1.0, width: float = 1.0) -> Function:
    """`scale * x` above 0, `scale * alpha * (exp(x / width) - 1)` below."""
    return Function(
        lambda x: (
            scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width))
        ),
        lambda x: (
            scale
            * np.where(x > 0, 1.0, alpha / width * np.exp(np.minimum(x, 0) / width))
        ),
        (0.0,),
    )


def _gelu(approximate: bool = False) -> Function:
    if not approximate:
        return Function(
            lambda x: x * special.ndtr(x),
            lambda x: special.ndtr(x) + x * density(x),
        )
    a, b = math.sqrt(2 / math.pi), 0.044715  # Hendrycks and Gimpel, 2016

    def derivative(x: np.ndarray) -> np.ndarray:
        t = np.tanh(a * (x + b * x**3))
        return (1 + t) / 2 + x / 2 * (1 - t**2) * a * (1 + 3 * b * x**2)

    return Function(lambda x: x / 2 * (1 + np.tanh(a * (x + b * x**3))), derivative)


def _sigmoid_slope(x: np.ndarray) -> np.ndarray:
    return special.expit(x) * special.expit(-x)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def _mish() -> Function:
    def derivative(x: np.ndarray) -> np.ndarray:
        t = np.tanh(_softplus(x))
        return t + x * (1 - t**2) * special.expit(x)

    return Function(lambda x: x * np.tanh(_softplus(x)), derivative)


def _squareplus(b: float = 4) -> Function:
    return Function(
        lambda x: (x + np.sqrt(x**2 + b)) / 2,
        lambda x: (1 + x / np.sqrt(x**2 + b)) / 2,
    )


def _sparse_plus() -> Function:
    return Function(
        lambda x: np.where(x < 1, np.square(np.maximum(x + 1, 0)) / 4, x),
        lambda x: np.clip((x + 1) / 2, 0, 1),
        (-1.0, 1.0),
    )


def _hard_silu() -> Function:
    return Function(
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        lambda x: np.where(x < -3, 0.0, np.where(x > 3, 1.0, x / 3 + 0.5)),
        (-3.0, 3.0),
    )


def _tanh() -> Function:
    return Function(np.tanh, lambda x: 1 - np.tanh(x) ** 2)


_ACTIVATIONS: dict[str, Callable[..., Function]] = {
    "linear": affine,
    "relu": _relu,
    "leaky_relu": lambda negative_slope=0.2: _relu(negative_slope),
    "relu6": lambda: _relu(max_value=6.0),
    "hard_tanh": lambda: _clip(-1, 1),
    "hard_sigmoid": lambda: _clip(-3, 3, 1 / 6, 0.5),
    "sparse_sigmoid": lambda: _clip(-1, 1, 0.5, 0.5),
    "hard_shrink": lambda threshold=0.5: PiecewiseLinear(
        [-threshold, threshold], [1, 0, 1], [0, 0, 0]
    ),
    "soft_shrink": lambda threshold=0.5: PiecewiseLinear(
        [-threshold, threshold], [1, 0, 1], [threshold, 0, -threshold]
    ),
    "threshold": lambda threshold, default_value: PiecewiseLinear(
        [threshold], [0, 1], [default_value, 0]
    ),
    "exponential": Exponential,
    "elu": _elu,
    "celu": lambda alpha=1.0: _elu(alpha, width=alpha),
    "selu": lambda: _elu(_SELU[1], _SELU[0]),
    "gelu": _gelu,
    "silu": lambda: Function(
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) + x * _sigmoid_slope(x),
    ),
    "tanh": _tanh,
    "tanh_shrink": lambda: Function(
        lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2
    ),
    "sigmoid": lambda: Function(special.expit, _sigmoid_slope),
    "log_sigmoid": lambda: Function(
        lambda x: -_softplus(-x), lambda x: special.expit(-x)
    ),
    "softplus": lambda: Function(_softplus, special.expit),
    "softsign": lambda: Function(
        lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2
    ),
    "squareplus": _squareplus,
    "sparse_plus": _sparse_plus,
    "hard_silu": _hard_silu,
    "mish": _mish,
    "square": lambda: Function(np.square, lambda x: 2 * x),
    "absolute": lambda: PiecewiseLinear([0], [-1, 1]),
    "negative": lambda: PiecewiseLinear((), [-1], [0]),
    "erf": lambda: Function(
        special.erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2))
    ),
}
_ACTIVATIONS["swish"] = _ACTIVATIONS["silu"]
_ACTIVATIONS["hard_swish"] = _ACTIVATIONS["hard_silu"]
