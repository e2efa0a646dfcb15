"""Rules for layers that move values without changing them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.resizing import resized


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
    """Reshapes to the output shape of a call.

    Positions in front that the output has no place for become inputs of the batch, and
    the other way round.
    """
    shape = setting.output_shape
    before, after = (*x.shape, x.total_channels), shape or (1,)
    if after.count(None) == 1:
        # The shape of a call that leaves positions open; a batch that moves leaves 1.
        rest = math.prod(n for n in after if n is not None)
        count = math.prod(before) // rest
        after = tuple(count if n is None and count > 1 else n for n in after)
    if None not in after:
        have, want = math.prod(before), math.prod(after)
        if have == want:
            return _same_batch(x, after)
        if have % want == 0 and math.prod(x.shape) % (have // want) == 0:
            apart = _first_axis(x, have // want)
            return calculus.rearrange(calculus.into_batch(apart), after)
        if want % have == 0:
            return calculus.rearrange(calculus.from_batch(x, want // have), after)
    raise NoRuleError(
        f"No variance rule for `{setting.name}`, which reshapes {before} to {shape} "
        "and mixes the batch with other axes."
    )


def _same_batch(x: Moments, shape: Sequence[int]) -> Moments:
    if len(shape) == 1:
        return calculus.flatten(x)
    y = calculus.rearrange(x, shape)
    rank = len(x.shape)
    factors = tuple(shape[rank:])
    if tuple(shape[:rank]) == tuple(x.shape) and len(factors) > 1:
        y.unfolded = x, factors, [None] * rank + list(range(len(factors)))
    return y


def _first_axis(x: Moments, count: int) -> Moments:
    """`x` with a first spatial axis of a given size."""
    for end in range(1, len(x.shape) + 1):
        if math.prod(x.shape[:end]) == count:
            return calculus.regroup(x, (count, *x.shape[end:]))
    return calculus.regroup(x, (count, math.prod(x.shape) // count))


@register(keras.layers.RepeatVector)
def repeat_vector(layer: Layer, setting: Setting, x: Moments) -> Moments:
    x = calculus.reshape(x, (1,))
    return calculus.spatial(x, [Window.gather(1, 0, layer.n, repeat=layer.n)])


@register(
    keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D
)
def zero_padding(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.zero_pad(x, dict(enumerate(_sides(layer.padding))))


@register(keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)
def cropping(layer: Layer, setting: Setting, x: Moments) -> Moments:
    sides = ((-low, -high) for low, high in _sides(layer.cropping))
    return calculus.zero_pad(x, dict(enumerate(sides)))


@register(
    keras.layers.UpSampling1D, keras.layers.UpSampling2D, keras.layers.UpSampling3D
)
def up_sampling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if getattr(layer, "interpolation", "nearest") != "nearest":
        return resized(x, setting.output_shape, layer.interpolation, antialias=False)
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
    return calculus.transpose(x, [dim - 1 for dim in layer.dims])


def _sides(sides: Sequence[Any]) -> list[tuple[int, int]]:
    """`(before, after)` for every axis, of what Keras stores for one axis or more."""
    pairs = [sides] if isinstance(sides[0], int) else sides
    return [(int(low), int(high)) for low, high in pairs]
