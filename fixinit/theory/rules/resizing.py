"""Rules for images that are resized, and for padding of any kind."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.positions import RESOLUTION, longest
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, how_to_register, register


@register(keras.layers.Resizing)
def resizing(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return _resize(layer, setting, x)


@register("Resize")
def resize(operation: Any, setting: Setting, x: Moments) -> Moments:
    return _resize(operation, setting, x)


def _resize(source: Any, setting: Setting, x: Moments) -> Moments:
    shape = setting.output_shape
    if source.crop_to_aspect_ratio:
        x = _cropped(x, shape)
    elif source.pad_to_aspect_ratio:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` with pad_to_aspect_ratio. "
            + how_to_register(source)
        )
    return resized(x, shape, source.interpolation, source.antialias)


def _cropped(x: Moments, shape: Sequence[int]) -> Moments:
    """The middle of an image, of the ratio of height and width that `shape` has.

    Sizes and starts are rounded down, as Keras does.
    """
    sizes = x.shape
    kept = [
        max(min(sizes[axis], sizes[1 - axis] * shape[axis] // shape[1 - axis]), 1)
        for axis in (0, 1)
    ]
    for axis, (size, part) in enumerate(zip(sizes, kept, strict=True)):
        if part < size:
            start = (size - part) // 2
            x = calculus.select(x, axis, range(start, start + part))
    return x


def resized(
    x: Moments, shape: Sequence[int], interpolation: str, antialias: bool
) -> Moments:
    """Resizes two spatial axes, by the coefficients that the backend interpolates with.

    Args:
        x: `Moments`.
        shape: Sequence of ints, `(height, width, channels)` of the result.
        interpolation: String, as `keras.ops.image.resize` takes it.
        antialias: bool.
    """
    windows = [
        _interpolation(n, out, interpolation, bool(antialias))
        for n, out in zip(x.shape, shape[:-1], strict=True)
    ]
    return calculus.spatial(x, windows)


@functools.lru_cache(maxsize=256)
def _interpolation(
    inputs: int, outputs: int, interpolation: str, antialias: bool
) -> Window:
    """The window of one axis: an image of unit vectors is resized."""
    small_in, small_out = _in_ratio(inputs, outputs)
    image = np.eye(small_in, dtype="float32")[None, :, None, :]
    # A second column keeps the backend from squeezing the axis.
    image = np.repeat(image, 2, axis=2)
    with keras.StatelessScope():
        found = ops.image.resize(
            ops.convert_to_tensor(image),
            (small_out, 2),
            interpolation=interpolation,
            antialias=antialias,
            data_format="channels_last",
        )
    matrix = np.asarray(ops.convert_to_numpy(found), "float64")[0, :, 0]
    # Weights of 1e-7 are what float32 leaves of 0.
    matrix = np.where(np.abs(matrix) < 1e-6, 0.0, matrix)
    return Window.linear(matrix, sizes=(inputs, outputs))


def _in_ratio(inputs: int, outputs: int) -> tuple[int, int]:
    """Sizes of the same ratio, shorter where the axes are very long."""
    common = math.gcd(inputs, outputs)
    low, high = sorted((inputs // common, outputs // common))
    # Short axes must stay what they are.
    enough = max(longest() // high, -(-(RESOLUTION + 1) // low))
    factor = min(common, enough)
    return inputs // common * factor, outputs // common * factor


@register("Pad")
def pad(
    operation: Any, setting: Setting, x: Moments, constant_values: Any = None
) -> Moments:
    rank = len(x.shape) + 2
    sides = [(int(low), int(high)) for low, high in operation.pad_width]
    sides = sides * rank if len(sides) == 1 else sides
    if any(sides[0]):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which pads the batch. "
            f"Received: pad_width={operation.pad_width}"
        )
    *space, channels = sides[1:]
    if operation.mode != "constant":
        return _continued(operation, setting, x, space, channels)
    value = float(constant_values or 0.0)
    if value == -math.inf and not any(channels):
        # The moments are those of the values inside, and of zeros.
        y = calculus.zero_pad(x, dict(enumerate(space)))
        y.least = True
        return y
    if not math.isfinite(value):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which pads with {value}: its mean "
            "square is not finite."
        )
    x = calculus.scale(x, 1.0, -value) if value else x
    x = calculus.zero_pad(x, dict(enumerate(space)))
    if any(channels):
        low, high = (_zeros(x, count) for count in channels)
        x = calculus.concatenate([*low, x, *high])
    return calculus.scale(x, 1.0, value) if value else x


def _zeros(x: Moments, count: int) -> list[Moments]:
    return [Moments.inputs((*x.shape, count), 0.0, 0.0)] if count else []


def _continued(
    operation: Any,
    setting: Setting,
    x: Moments,
    space: Sequence[tuple[int, int]],
    channels: tuple[int, int],
) -> Moments:
    """Padding with values of the tensor, such as its mirror image."""
    if any(channels):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which pads the channels with "
            f"mode={operation.mode!r}. " + how_to_register(operation)
        )
    for axis, side in enumerate(space):
        indices = np.pad(np.arange(x.shape[axis]), side, mode=operation.mode)
        x = calculus.select(x, axis, [int(i) for i in indices])
    return x
