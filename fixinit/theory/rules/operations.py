"""Rules for operations of `keras.ops`, by the names of the classes Keras records."""

import numbers

import numpy as np

from fixinit.theory import calculus
from fixinit.theory.moments import Moments
from fixinit.theory.registry import register
from fixinit.theory.rules.merging import concatenate_along
from fixinit.theory.rules.shapes import to_shape


@register("Add")
def add(operation, setting, a, b):
    return _linear(setting, a, b, 1.0)


@register("Subtract")
def subtract(operation, setting, a, b):
    return _linear(setting, a, b, -1.0)


def _linear(setting, a, b, sign):
    if isinstance(a, Moments) and isinstance(b, Moments):
        return calculus.add([a, b], [1.0, sign])
    if isinstance(a, Moments):
        return calculus.scale(a, 1.0, sign * _constant(b, setting))
    return calculus.scale(b, sign, _constant(a, setting))


@register("Multiply")
def multiply(operation, setting, a, b):
    if isinstance(a, Moments) and isinstance(b, Moments):
        return calculus.multiply([a, b])
    if isinstance(a, Moments):
        return calculus.scale(a, _constant(b, setting))
    return calculus.scale(b, _constant(a, setting))


@register("Divide", "TrueDivide")
def divide(operation, setting, a, b):
    if not isinstance(a, Moments):
        raise ValueError(f"`{setting.name}` divides by activations: not known.")
    return calculus.scale(a, 1 / _constant(b, setting))


@register("Maximum")
def maximum(operation, setting, a, b):
    return calculus.maximum([a, b])


@register("Minimum")
def minimum(operation, setting, a, b):
    return calculus.maximum([a, b], sign=-1.0)


@register("Cast", "Identity", "StopGradient", "Copy")
def unchanged(operation, setting, x, *args, **kwargs):
    return x


@register("Reshape")
def reshape(operation, setting, x, *args, **kwargs):
    return to_shape(x, setting)


@register("Concatenate")
def concatenate(operation, setting, xs):
    return concatenate_along(xs, operation.axis, setting)


@register("Mean")
def mean(operation, setting, x):
    axes = operation.axis
    axes = [axes] if isinstance(axes, int) else list(axes or [])
    rank = len(x.shape) + 2
    if sorted(axis % rank for axis in axes) != list(range(1, rank - 1)):
        raise ValueError(
            f"`{setting.name}` is known as a mean over all spatial axes. "
            f"Received: axis={operation.axis}"
        )
    return calculus.global_average(x, operation.keepdims)


def _constant(value, setting):
    """A number, given as such or as an array of equal numbers."""
    if isinstance(value, numbers.Real):
        return float(value)
    values = np.unique(np.asarray(value, "float64"))
    if len(values) != 1:
        raise ValueError(
            f"`{setting.name}` combines activations with an array of different "
            "numbers, which is not known. Use a layer with a rule of its own."
        )
    return float(values[0])
