"""Rules for operations of `keras.ops`, by the names of the classes Keras records."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation import apply_activation, apply_elementwise
from fixinit.theory.evaluation.arrays import with_arrays
from fixinit.theory.gaussian.piecewise import PiecewiseLinear
from fixinit.theory.registry import Setting, how_to_register, register
from fixinit.theory.rules.merging_layers import concatenate_along


@register("Add")
def add(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    return _linear(setting, x1, x2, 1.0)


@register("Subtract")
def subtract(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    return _linear(setting, x1, x2, -1.0)


def _linear(setting: Setting, a: Any, b: Any, sign: float) -> Moments:
    a, b = operand(a, setting), operand(b, setting)
    if isinstance(a, Moments) and isinstance(b, Moments):
        return calculus.add([a, b], [1.0, sign])
    if isinstance(a, Moments):
        return calculus.scale(a, 1.0, sign * b)
    return calculus.scale(b, sign, a)


@register("Multiply")
def multiply(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    x1, x2 = operand(x1, setting), operand(x2, setting)
    if isinstance(x1, Moments) and isinstance(x2, Moments):
        return calculus.multiply([x1, x2])
    x, factor = _one_of(x1, x2, setting)
    return calculus.scale(x, factor)


@register("Divide", "TrueDivide")
def divide(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    if not isinstance(x2, Moments):
        return multiply(operation, setting, x1, 1 / np.asarray(x2, "float64"))
    if isinstance(x1, Moments):
        y = apply_elementwise(operation, setting, (x1, x2), {})
        if y is not None:
            return y
    inverse = apply_activation(x2, ops.reciprocal, setting)
    if inverse is None:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which divides by activations. "
            + how_to_register(operation)
        )
    return multiply(operation, setting, x1, inverse)


@register("Maximum")
def maximum(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    if isinstance(x1, Moments) and isinstance(x2, Moments):
        return calculus.maximum([x1, x2])
    x, low = _one_of(x1, x2, setting)
    return calculus.apply(x, PiecewiseLinear([low], [0.0, 1.0], [low, 0.0]))


@register("Minimum")
def minimum(operation: Any, setting: Setting, x1: Any, x2: Any) -> Moments:
    if isinstance(x1, Moments) and isinstance(x2, Moments):
        return calculus.maximum([x1, x2], sign=-1.0)
    x, high = _one_of(x1, x2, setting)
    return calculus.apply(x, PiecewiseLinear([high], [1.0, 0.0], [0.0, high]))


@register("Clip")
def clip(operation: Any, setting: Setting, x: Moments) -> Moments:
    low, high = (_constant(x, setting) for x in (operation.x_min, operation.x_max))
    if low >= high:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which clips to an empty range. "
            f"Received: x_min={low}, x_max={high}"
        )
    clipped = PiecewiseLinear([low, high], [0.0, 1.0, 0.0], [low, 0.0, high])
    return calculus.apply(x, clipped)


@register("Softmax")
def softmax(operation: Any, setting: Setting, x: Moments) -> Moments:
    return _over_channels(operation, setting, x, calculus.softmax)


@register("LogSoftmax")
def log_softmax(operation: Any, setting: Setting, x: Moments) -> Moments:
    return _over_channels(operation, setting, x, calculus.log_softmax)


def _over_channels(
    operation: Any,
    setting: Setting,
    x: Moments,
    function: Callable[[Moments], Moments],
) -> Moments:
    if operation.axis not in (-1, len(x.shape) + 1):
        raise NoRuleError(
            f"No variance rule for `{setting.name}` over other axes than the last. "
            f"Received: axis={operation.axis}"
        )
    return function(x)


@register("Cast", "SaturateCast", "ConvertToTensor", "Identity", "StopGradient", "Copy")
def unchanged(
    operation: Any, setting: Setting, x: Moments, *args: Any, **kwargs: Any
) -> Moments:
    return x


@register("Concatenate")
def concatenate(operation: Any, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return concatenate_along(with_arrays(xs), operation.axis, setting)


def _one_of(a: Any, b: Any, setting: Setting) -> tuple[Moments, float]:
    """Of activations and a number, in whichever order: `(activations, number)`."""
    if isinstance(a, Moments):
        return a, _constant(b, setting)
    return b, _constant(a, setting)


def operand(value: Any, setting: Setting) -> Moments | float:
    """What activations are combined with: others, a number or an array of constants.

    Arrays of equal numbers are a number.
    """
    if isinstance(value, Moments):
        return value
    if isinstance(value, numbers.Real):
        return float(value)
    array = np.asarray(ops.convert_to_numpy(value), "float64")
    numbers_in_it = np.unique(array)
    if len(numbers_in_it) == 1:
        return float(numbers_in_it[0])
    rank = len(setting.output_shape) + 1
    if array.ndim < rank or len(array) == 1:
        return calculus.constant(array[0] if array.ndim == rank else array)
    raise NoRuleError(
        f"No variance rule for `{setting.name}`, which combines activations with an "
        f"array that differs between the inputs of a batch, of shape {array.shape}."
    )


def _constant(value: Any, setting: Setting) -> float:
    """A number, given as such or as an array of equal numbers."""
    found = operand(value, setting)
    if isinstance(found, Moments):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which combines activations with "
            "an array of different numbers. Use a layer with a rule of its own."
        )
    return found
