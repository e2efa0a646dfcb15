"""Rules for layers that join several values."""

import keras

from fixinit.theory import calculus
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import register


@register(keras.layers.Add)
def add(layer, setting, xs):
    return calculus.add(xs)


@register(keras.layers.Subtract)
def subtract(layer, setting, xs):
    return calculus.add(xs, [1.0, -1.0])


@register(keras.layers.Average)
def average(layer, setting, xs):
    return calculus.add(xs, [1 / len(xs)] * len(xs))


@register(keras.layers.Multiply)
def multiply(layer, setting, xs):
    return calculus.multiply(xs)


@register(keras.layers.Maximum)
def maximum(layer, setting, xs):
    return calculus.maximum(xs)


@register(keras.layers.Minimum)
def minimum(layer, setting, xs):
    return calculus.maximum(xs, sign=-1.0)


@register(keras.layers.Concatenate)
def concatenate(layer, setting, xs):
    return concatenate_along(xs, layer.axis, setting)


def concatenate_along(xs, axis, setting):
    """Values side by side along the channels."""
    if axis % (len(xs[0].shape) + 2) != len(xs[0].shape) + 1:
        raise NoRuleError(
            f"`{setting.name}` concatenates along a spatial axis, which is not known. "
            f"Received: axis={axis}"
        )
    return calculus.concatenate(xs)
