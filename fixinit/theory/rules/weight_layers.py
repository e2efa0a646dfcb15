"""Rules for the layers that multiply by a kernel."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from fixinit import initializers
from fixinit.initializers.constant_kernel import ConstantKernel
from fixinit.layers import StandardizedKernel
from fixinit.theory import calculus
from fixinit.theory.calculus.known import Known, same_tokens
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian import activations
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.activation_layers import activate
from fixinit.theory.rules.identity_kernels import check_independent, identity_kernel
from fixinit.theory.rules.initializers import weight_moments
from fixinit.theory.rules.slicing import take


@register(keras.layers.Dense)
def dense(layer: Layer, setting: Setting, x: Moments) -> Moments:
    units = layer.units
    chosen = identity_kernel(layer.kernel_initializer, x.total_channels, units)
    if chosen is not None:
        return _selected(layer, setting, x, chosen, units)
    shape: tuple[int, ...] = (x.total_channels, units)
    x, initializer, shape = _mirrored(layer.kernel_initializer, setting, x, shape)
    weight, product = _kernel(layer, initializer, shape, setting, shape[0])
    bias = _bias(layer, (units,))
    y = calculus.mix(x, [], units, weight, bias=bias, product=product)
    return activate(y, layer.activation, setting)


@register(keras.layers.EinsumDense)
def einsum_dense(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """A dense layer on some of the axes, which need not be the last ones."""
    inputs, kernel, outputs = _einsum_letters(layer, len(x.shape) + 2)
    summed = [c for c in inputs if c in kernel and c not in outputs]
    kept = [c for c in inputs if c not in kernel]
    made = [c for c in kernel if c not in inputs]
    fits = sorted(kept + made) == sorted(outputs) and len(inputs) == len(x.shape) + 1
    if not summed or not fits:
        raise NoRuleError(
            f"No variance rule for EinsumDense `{setting.name}` but where a kernel is "
            "summed over axes of the input, and all inputs of a batch are multiplied "
            f"by the same one. Received: {layer.equation!r}"
        )
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    sizes |= dict(zip(inputs, (*x.shape, x.total_channels), strict=True))
    x = _transposed(x, inputs, kept + summed)
    space = [sizes[c] for c in kept]
    x = calculus.rearrange(x, (*space, math.prod(sizes[c] for c in summed)))
    weight, bias = einsum_kernel(layer, setting), (0.0, 0.0)
    fan_in = math.prod(sizes[c] for c in summed)
    weight, product = _standardized(layer, weight, fan_in, setting)
    if layer.bias is not None:
        bias = weight_moments(layer.bias_initializer, tuple(layer.bias.shape))
    filters = [sizes[c] for c in made] or [1]
    y = calculus.mix(x, [], math.prod(filters), weight, bias=bias, product=product)
    y = calculus.rearrange(y, (*space, *filters))
    return activate(_transposed(y, kept + made, outputs), layer.activation, setting)


def _einsum_letters(layer: Layer, rank: int) -> tuple[list[str], str, list[str]]:
    """The letters of the input and the output without the batch, and of the kernel."""
    inputs, rest = layer.equation.replace(" ", "").split(",")
    kernel, outputs = rest.split("->")
    others = [chr(ord("A") + i) for i in range(rank - len(inputs.replace("...", "")))]
    first, last = (
        [*letters.split("...")[0], *others, *letters.split("...")[1]]
        if "..." in letters
        else list(letters)
        for letters in (inputs, outputs)
    )
    return first[1:], kernel, last[1:]


def _transposed(x: Moments, letters: list[str], order: list[str]) -> Moments:
    return (
        x
        if letters == order
        else calculus.transpose(x, list(map(letters.index, order)))
    )


def einsum_kernel(layer: Any, setting: Setting) -> tuple[float, float]:
    """`(mean, variance)` of one weight of an `EinsumDense`.

    Keras counts the fans of its equation, for an initializer that takes them.
    """
    initializer, shape = layer.kernel_initializer, tuple(layer.kernel.shape)
    if isinstance(initializer, keras.initializers.VarianceScaling):
        if initializer.input_axes is None or initializer.output_axes is None:
            inputs, rest = layer.equation.split(",")
            kernel, outputs = rest.split("->")
            summed, made = (
                [i for i, axis in enumerate(kernel) if axis not in others]
                for others in (outputs, inputs)
            )
            axes = {"input_axes": summed, "output_axes": made}
            config = {**initializer.get_config(), **axes}
            initializer = type(initializer).from_config(config)
    return kernel_moments(initializer, shape, setting)


@register(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
def convolution(layer: Layer, setting: Setting, x: Moments) -> Moments:
    reads, initializer = _windows(layer, x), layer.kernel_initializer
    shape = (*layer.kernel_size, x.total_channels // layer.groups, layer.filters)
    fan_in = math.prod(shape[:-1])
    if layer.groups == 1:
        x, initializer, shape = _mirrored(initializer, setting, x, shape)
    matrix = _at_centre(initializer)
    if matrix is not None:
        # Zeros but for the centre: a matrix that reads through this tap alone.
        centres = [(size - 1) // 2 for size in layer.kernel_size]
        reads = [w.tap(centre) for w, centre in zip(reads, centres, strict=True)]
        initializer, shape = matrix, shape[-2:]
        chosen = identity_kernel(matrix, *shape) if layer.groups == 1 else None
        if chosen is not None:
            if not all(map(_passes, reads)):
                x = calculus.spatial(x, reads)
            return _selected(layer, setting, x, chosen, layer.filters)
    weight, product = _kernel(layer, initializer, shape, setting, fan_in)
    bias = _bias(layer, (layer.filters,))
    y = calculus.mix(x, reads, layer.filters, weight, layer.groups, bias, product)
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
    weight = kernel_moments(layer.pointwise_initializer, shape, setting)
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
    fan_in = math.prod(layer.kernel_size) * x.total_channels
    weight, product = _kernel(layer, layer.kernel_initializer, shape, setting, fan_in)
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
    bias = _bias(layer, (layer.filters,))
    y = calculus.mix(x, found, layer.filters, weight, bias=bias, product=product)
    return activate(y, layer.activation, setting)


@register(keras.layers.Embedding)
def embedding(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Tokens that are not known are taken to differ between positions and inputs."""
    shape = (layer.input_dim, layer.output_dim)
    mean, variance = weight_moments(layer.embeddings_initializer, shape)
    y = Moments.inputs(setting.output_shape, mean, variance)
    if isinstance(x, Known):
        own, crossed = same_tokens(x, layer.input_dim)
        y.same, y.cross = (mean**2 + variance * alike for alike in (own, crossed))
    return y


@register(keras.layers.ReversibleEmbedding)
def reversible_embedding(
    layer: Layer, setting: Setting, x: Moments, reverse: bool = False
) -> Moments:
    """Embeds tokens, or compares vectors with all of them."""
    if not reverse:
        return embedding(layer, setting, x)
    shape, initializer = (
        (layer.input_dim, layer.output_dim),
        layer.embeddings_initializer,
    )
    if not layer.tie_weights:
        shape = shape[::-1]
    weight = kernel_moments(initializer, shape, setting)
    y = calculus.mix(x, [], layer.input_dim, weight)
    cap = getattr(layer, "logit_soft_cap", None)
    if cap is None:
        return y
    y = calculus.apply(calculus.scale(y, 1 / cap), activations.activation("tanh"))
    return calculus.scale(y, cap)


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
    weight, product = _kernel(
        layer, layer.depthwise_initializer, shape, setting, math.prod(layer.kernel_size)
    )
    return calculus.depthwise(
        x, _windows(layer, x), layer.depth_multiplier, weight, bias, product
    )


def _mirrored(
    initializer: Any, setting: Setting, x: Moments, shape: tuple[int, ...]
) -> tuple[Moments, Any, tuple[int, ...]]:
    """A kernel `[W, -W]` on halves of the channels is W on their difference.

    Returns:
        `(x, initializer, shape)`: what W reads, what draws it, and its shape.
    """
    while isinstance(initializer, initializers.Corrected):
        initializer = initializer.initializer
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


def _at_centre(initializer: Any) -> Any:
    """What draws the matrix at the centre of a kernel; `None` for other kernels."""
    if isinstance(initializer, initializers.Rescaled):
        matrix = _at_centre(initializer.initializer)
        if matrix is None:
            return None
        return initializers.Rescaled(matrix, initializer.gain)
    if isinstance(initializer, initializers.Corrected):
        return _at_centre(initializer.initializer)
    if isinstance(initializer, initializers.DeltaOrthogonal):
        return keras.initializers.Orthogonal(initializer.gain)
    matrices = (ConstantKernel, initializers.ScaledUniformOrthogonal)
    return initializer if isinstance(initializer, matrices) else None


def _passes(window: Window) -> bool:
    """Whether every output of a window is the input of its position."""
    return window.inputs == window.outputs and np.array_equal(
        window.mean, np.eye(len(window.mean))
    )


def _selected(
    layer: Any,
    setting: Setting,
    x: Moments,
    chosen: tuple[float, Sequence[int]],
    filters: int,
) -> Moments:
    """A layer that takes channels as they are, times a gain: see `identity_kernel`."""
    gain, channels = chosen
    gain *= math.sqrt(setting.kernel_factor)
    y = take(x, len(x.shape), channels)
    y = calculus.randomly_scale(y, (gain, 0.0), _bias(layer, (filters,)))
    return activate(y, layer.activation, setting)


def kernel_moments(
    initializer: Any, shape: Sequence[int], setting: Setting
) -> tuple[float, float]:
    """`(mean, variance)` of one weight of a kernel."""
    check_independent(initializer)
    mean, variance = weight_moments(initializer, shape)
    return math.sqrt(setting.kernel_factor) * mean, setting.kernel_factor * variance


def _kernel(
    layer: Any,
    initializer: Any,
    shape: Sequence[int],
    setting: Setting,
    fan_in: int,
) -> tuple[tuple[float, float], float | None]:
    """`((mean, variance), product)` of the weights that a layer multiplies by.

    The product is that of two weights of one unit, `None` where they are independent.
    """
    weight = kernel_moments(initializer, shape, setting)
    return _standardized(layer, weight, fan_in, setting)


def _standardized(
    layer: Any, weight: tuple[float, float], fan_in: int, setting: Setting
) -> tuple[tuple[float, float], float | None]:
    """The moments of a kernel behind its standardization, where it has one.

    The fan_in weights of a unit have the squares `gain^2 / fan_in` and add up to zero,
    so that the product of two of them is `-gain^2 / (fan_in (fan_in - 1))`.
    """
    if not isinstance(layer, StandardizedKernel):
        return weight, None
    mean, variance = weight_moments(layer.gain_initializer, (1,))
    drawn = weight[1] * (fan_in - 1)
    if not drawn:
        return (0.0, 0.0), None
    gain_square = (mean**2 + variance) * setting.kernel_factor
    square = gain_square * drawn / max(drawn, layer.epsilon) / fan_in
    return (0.0, square), -square / (fan_in - 1)


def _bias(layer: Layer, shape: Sequence[int]) -> tuple[float, float]:
    """`(mean, variance)` of one bias, 0 where the layer has none."""
    if not layer.use_bias:
        return 0.0, 0.0
    return weight_moments(layer.bias_initializer, shape)
