"""Rules for layers that join several values."""

from collections.abc import Sequence

import keras
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.axes import axis_of


@register(keras.layers.Add)
def add(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.add(xs)


@register(keras.layers.Subtract)
def subtract(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.add(xs, [1.0, -1.0])


@register(keras.layers.Average)
def average(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.add(xs, [1 / len(xs)] * len(xs))


@register(keras.layers.Multiply)
def multiply(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.multiply(xs)


@register(keras.layers.Maximum)
def maximum(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.maximum(xs)


@register(keras.layers.Minimum)
def minimum(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.maximum(xs, sign=-1.0)


@register(keras.layers.Concatenate)
def concatenate(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return concatenate_along(xs, layer.axis, setting)


def concatenate_along(xs: Sequence[Moments], axis: int, setting: Setting) -> Moments:
    """Concatenates along the channels, or along a spatial axis."""
    rank = len(xs[0].shape) + 2
    place = axis_of(axis, rank, setting)
    if place == rank - 2:
        return calculus.concatenate(xs)
    return calculus.concatenate_space(xs, place)
