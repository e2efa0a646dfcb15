"""Rules for pooling layers."""

import keras
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.registry import Setting, register


@register(
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
)
def average_pooling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.spatial(x, [window.averaging() for window in _windows(layer, x)])


@register(
    keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D
)
def max_pooling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    windows = _windows(layer, x)
    if all(size == 1 for size in layer.pool_size):
        return calculus.spatial(x, windows)
    return calculus.max_pool(x, windows)


@register(
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
)
def global_average_pooling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.global_average(x, layer.keepdims)


@register(
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)
def global_max_pooling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    y = calculus.max_pool(x, [Window.everything(n) for n in x.shape])
    return y if layer.keepdims else calculus.reshape(y, ())


def _windows(layer: Layer, x: Moments) -> list[Window]:
    options = zip(x.shape, layer.pool_size, layer.strides, strict=True)
    return [Window.convolution(n, k, s, 1, layer.padding) for n, k, s in options]
