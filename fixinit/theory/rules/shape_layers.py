"""Rules for layers that move values without changing them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register


@register(keras.layers.InputLayer, keras.layers.Identity)
@register(keras.layers.ActivityRegularization, keras.layers.Masking)
def unchanged(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return x


@register(keras.layers.Flatten)
def flatten(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.flatten(x)


@register(keras.layers.Reshape)
def reshape(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return to_shape(x, setting)


def to_shape(x: Moments, setting: Setting) -> Moments:
    """Reshapes to the output shape of a call."""
    *space, channels = setting.output_shape
    if channels == x.total_channels and _without_ones(space) == _without_ones(x.shape):
        return calculus.reshape(x, space)
    if not space:
        return calculus.flatten(x)
    if all(n == 1 for n in x.shape) and len(x.channels) == 1:
        return calculus.unflatten(calculus.flatten(x), setting.output_shape)
    if channels == x.total_channels and len(space) < len(x.shape):
        return calculus.merge_space(x, space)
    raise NoRuleError(
        f"No variance rule for `{setting.name}`, which reshapes "
        f"{(*x.shape, x.total_channels)} to {setting.output_shape} and mixes positions "
        "and channels."
    )


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [n for n in shape if n != 1]


@register(keras.layers.RepeatVector)
def repeat_vector(layer: Layer, setting: Setting, x: Moments) -> Moments:
    x = calculus.reshape(x, (1,))
    return calculus.spatial(x, [Window.gather(1, 0, layer.n, repeat=layer.n)])


@register(
    keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D
)
def zero_padding(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.spatial(
        x,
        [
            Window.gather(n, -low, n + low + high)
            for n, (low, high) in zip(x.shape, _sides(layer.padding), strict=True)
        ],
    )


@register(keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)
def cropping(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.spatial(
        x,
        [
            Window.gather(n, low, n - low - high)
            for n, (low, high) in zip(x.shape, _sides(layer.cropping), strict=True)
        ],
    )


@register(
    keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D
)
def up_sampling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise NoRuleError(
            f"No variance rule for UpSampling2D `{setting.name}` but with "
            f"interpolation='nearest'. Received: interpolation={layer.interpolation!r}"
        )
    sizes = layer.size if isinstance(layer.size, (list, tuple)) else [layer.size]
    return calculus.spatial(
        x,
        [
            Window.gather(n, 0, n * size, repeat=size)
            for n, size in zip(x.shape, sizes, strict=True)
        ],
    )


@register(keras.layers.Permute)
def permute(layer: Layer, setting: Setting, x: Moments) -> Moments:
    dims = tuple(layer.dims)
    if dims[-1] != len(dims):
        raise NoRuleError(
            f"No variance rule for Permute `{setting.name}` but with the channels "
            f"last. Received: dims={layer.dims}"
        )
    return calculus.permute(x, [dim - 1 for dim in dims[:-1]])


def _sides(sides: Sequence[Any]) -> list[tuple[int, int]]:
    """`(before, after)` for every axis, of what Keras stores for one axis or more."""
    pairs = [sides] if isinstance(sides[0], int) else sides
    return [(int(low), int(high)) for low, high in pairs]
