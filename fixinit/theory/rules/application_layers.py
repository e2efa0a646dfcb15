"""Rules for layers that only `keras.applications` has: scales of residual branches."""

from collections.abc import Sequence

from keras.layers import Layer

from fixinit._keras import CustomScaleLayer
from fixinit._keras import LayerScale as ConvNeXtScale
from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.registry import Setting, register


@register(ConvNeXtScale)
def layer_scale(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.scale(x, float(layer.init_values))


@register(CustomScaleLayer)
def custom_scale(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.add(xs, [1.0, float(layer.scale)])
