"""Rules for the layers that multiply by a kernel."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras.layers import Layer

from fixinit import initializers
from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.activation_layers import activate
from fixinit.theory.rules.initializers import weight_moments


@register(keras.layers.Dense)
def dense(layer: Layer, setting: Setting, x: Moments) -> Moments:
    units = layer.units
    if isinstance(layer.kernel_initializer, keras.initializers.Identity):
        if x.total_channels == units:
            bias = _bias(layer, (units,))
            gain = layer.kernel_initializer.gain * math.sqrt(setting.kernel_factor)
            y = calculus.randomly_scale(x, (gain, 0.0), bias)
            return activate(y, layer.activation, setting)
    shape: tuple[int, ...] = (x.total_channels, units)
    x, initializer, shape = _mirrored(layer.kernel_initializer, setting, x, shape)
    weight = _kernel(initializer, shape, setting)
    y = calculus.mix(x, [], units, weight, bias=_bias(layer, (units,)))
    return activate(y, layer.activation, setting)


@register(keras.layers.EinsumDense)
def einsum_dense(layer: Layer, setting: Setting, x: Moments) -> Moments:
    inputs, rest = layer.equation.replace("...", "").split(",")
    kernel, outputs = rest.split("->")
    summed = set(inputs) & set(kernel) - set(outputs)
    simple = summed == {inputs[-1]} and outputs[-1] in kernel
    if not simple or set(outputs[:-1]) & set(kernel) or "..." in layer.equation[:-1]:
        if layer.equation not in _LAST_AXIS:
            raise NoRuleError(
                f"No variance rule for EinsumDense `{setting.name}` but as a dense "
                "layer on the last axis, such as 'ab,bc->ac'. "
                f"Received: {layer.equation!r}"
            )
    units = setting.output_shape[-1]
    shape = tuple(layer.kernel.shape)
    weight = _kernel(layer.kernel_initializer, shape, setting)
    bias = (0.0, 0.0)
    if layer.bias is not None:
        bias = weight_moments(layer.bias_initializer, (units,))
    y = calculus.mix(x, [], units, weight, bias=bias)
    return activate(y, layer.activation, setting)


_LAST_AXIS = ("...x,xy->...y", "...a,ab->...b")


@register(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
def convolution(layer: Layer, setting: Setting, x: Moments) -> Moments:
    reads, initializer = _windows(layer, x), layer.kernel_initializer
    shape = (*layer.kernel_size, x.total_channels // layer.groups, layer.filters)
    if layer.groups == 1:
        x, initializer, shape = _mirrored(initializer, setting, x, shape)
    if isinstance(initializer, initializers.DeltaOrthogonal):
        # Zeros but for the centre: a matrix that reads through this tap alone.
        centres = [(size - 1) // 2 for size in layer.kernel_size]
        reads = [w.tap(centre) for w, centre in zip(reads, centres, strict=True)]
        initializer = keras.initializers.Orthogonal(initializer.gain)
        shape = shape[-2:]
    weight = _kernel(initializer, shape, setting)
    bias = _bias(layer, (layer.filters,))
    y = calculus.mix(x, reads, layer.filters, weight, layer.groups, bias)
    return activate(y, layer.activation, setting)


@register(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
def depthwise(layer: Layer, setting: Setting, x: Moments) -> Moments:
    y = _depthwise(
        layer, setting, x, _bias(layer, (x.total_channels * layer.depth_multiplier,))
    )
    return activate(y, layer.activation, setting)


@register(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
def separable(layer: Layer, setting: Setting, x: Moments) -> Moments:
    y = _depthwise(layer, setting, x, (0.0, 0.0))
    shape = (*(1 for _ in x.shape), y.total_channels, layer.filters)
    weight = _kernel(layer.pointwise_initializer, shape, setting)
    points = [Window.convolution(n, 1) for n in y.shape]
    y = calculus.mix(
        y, points, layer.filters, weight, bias=_bias(layer, (layer.filters,))
    )
    return activate(y, layer.activation, setting)


@register(
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
def transposed(layer: Layer, setting: Setting, x: Moments) -> Moments:
    shape = (*layer.kernel_size, layer.filters, x.total_channels)
    weight = _kernel(layer.kernel_initializer, shape, setting)
    options = zip(
        x.shape,
        setting.output_shape,
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        strict=False,
    )
    found = [
        Window.transposed(n, out, k, s, d, layer.padding) for n, out, k, s, d in options
    ]
    y = calculus.mix(
        x, found, layer.filters, weight, bias=_bias(layer, (layer.filters,))
    )
    return activate(y, layer.activation, setting)


@register(keras.layers.Embedding)
def embedding(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Tokens are taken to differ between positions and inputs."""
    shape = (layer.input_dim, layer.output_dim)
    mean, variance = weight_moments(layer.embeddings_initializer, shape)
    return Moments.inputs(setting.output_shape, mean, variance)


def _windows(layer: Layer, x: Moments) -> list[Window]:
    """The windows of a convolution, one per spatial axis."""
    options = zip(
        x.shape, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    )
    return [Window.convolution(*option, layer.padding) for option in options]


def _depthwise(
    layer: Layer, setting: Setting, x: Moments, bias: tuple[float, float]
) -> Moments:
    shape = (*layer.kernel_size, x.total_channels, layer.depth_multiplier)
    weight = _kernel(layer.depthwise_initializer, shape, setting)
    return calculus.depthwise(
        x, _windows(layer, x), layer.depth_multiplier, weight, bias
    )


def _mirrored(
    initializer: Any, setting: Setting, x: Moments, shape: tuple[int, ...]
) -> tuple[Moments, Any, tuple[int, ...]]:
    """A kernel `[W, -W]` on halves of the channels is W on their difference.

    Returns:
        `(x, initializer, shape)`: what W reads, what draws it, and its shape.
    """
    if not isinstance(initializer, initializers.LooksLinear):
        return x, initializer, shape
    parts = x.parts or []
    middle = len(parts) // 2
    halves = parts[:middle], parts[middle:]
    first, second = ([tuple(part.channels) for part in half] for half in halves)
    if not middle or first != second:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, whose initializer LooksLinear has "
            "one right behind a fixinit.layers.CReLU. Move the CReLU there."
        )
    x = calculus.concatenate(
        [calculus.add([a, b], [1.0, -1.0]) for a, b in zip(*halves, strict=True)]
    )
    *rest, channels, filters = shape
    return x, initializer.initializer, (*rest, channels // 2, filters)


def _kernel(
    initializer: Any, shape: Sequence[int], setting: Setting
) -> tuple[float, float]:
    """`(mean, variance)` of one weight of a kernel."""
    mean, variance = weight_moments(initializer, shape)
    return math.sqrt(setting.kernel_factor) * mean, setting.kernel_factor * variance


def _bias(layer: Layer, shape: Sequence[int]) -> tuple[float, float]:
    """`(mean, variance)` of one bias, 0 where the layer has none."""
    if not layer.use_bias:
        return 0.0, 0.0
    return weight_moments(layer.bias_initializer, shape)
