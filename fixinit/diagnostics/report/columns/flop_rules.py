"""FLOPs of Keras's layers and operations, by their shapes."""

import math
from typing import Any

import keras
from keras import layers

from fixinit import _keras
from fixinit.diagnostics.report.columns.flops import flops_of, register_flops

# Matrices of a step of a recurrent layer, for inputs and for states.
_GATES = {layers.SimpleRNN: 1, layers.GRU: 3, layers.LSTM: 4}


def size(x: Any) -> int:
    """The number of elements of a tensor."""
    return math.prod(x.shape)


@register_flops(
    *(layers.InputLayer, layers.Embedding, layers.Masking, layers.GaussianNoise),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
    *(layers.AlphaDropout, layers.ActivityRegularization),
    *("MaxPool", "AveragePool", "Max", "Min", "Exp", "Log", "Power", "Square", "Sin"),
    *("Cos", "Negative", "Absolute", "Sign", "Where", "Take", "TakeAlongAxis"),
    *("StopGradient", "Identity", "Copy", "SaturateCast", "ConvertToTensor"),
    *("LogicalAnd", "LogicalOr", "LogicalNot", "Greater", "GreaterEqual", "Less"),
    *("LessEqual", "Equal", "NotEqual", "Tile", "Unstack", "Roll", "Flip", "Arange"),
    *("SwapAxes", "Moveaxis", "Swapaxes", "Ravel", "OneHot", "Reciprocal", "Clip"),
)
def _nothing(layer: Any, outputs: Any, *args: Any) -> float:
    return 0.0


@register_flops(layers.Dot)
def _dot(layer: layers.Dot, outputs: Any, inputs: Any) -> float:
    x, axes = inputs[0], layer.axes
    axis = axes if isinstance(axes, int) else axes[0]
    return 2 * size(outputs) * x.shape[axis]


@register_flops(layers.Dense)
def _dense(layer: layers.Dense, outputs: Any, x: Any) -> float:
    return 2 * size(x) * layer.units


@register_flops(layers.EinsumDense)
def _einsum_dense(layer: layers.EinsumDense, outputs: Any, x: Any) -> float:
    return _einsum_flops(layer.equation, x.shape, layer.kernel.shape)


@register_flops(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def _convolution(layer: Any, outputs: Any, x: Any) -> float:
    # The kernel has the channels of one group.
    return 2 * size(outputs) * math.prod(layer.kernel.shape[:-1])


@register_flops(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _transposed(layer: Any, outputs: Any, x: Any) -> float:
    # Every input is multiplied by the whole kernel of its channel.
    return 2 * size(x) * math.prod(layer.kernel.shape[:-1])


@register_flops(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _depthwise(layer: Any, outputs: Any, x: Any) -> float:
    return 2 * size(outputs) * math.prod(layer.kernel_size)


@register_flops(layers.SeparableConv1D, layers.SeparableConv2D)
def _separable(layer: Any, outputs: Any, x: Any) -> float:
    kernels = layer.depthwise_kernel, layer.pointwise_kernel
    return 2 * size(outputs) // layer.filters * sum(map(size, kernels))


@register_flops(layers.MultiHeadAttention, layers.GroupQueryAttention)
def _multi_head_attention(
    layer: Any, outputs: Any, query: Any, value: Any, key: Any = None
) -> float:
    parts, key = _keras.attention_parts(layer), value if key is None else key
    read = [(parts.query, query), (parts.key, key), (parts.value, value)]
    if parts.gate is not None:
        read.append((parts.gate, query))
    projected = sum(size(x) // x.shape[-1] * size(p.kernel) for p, x in read)
    axes = parts.axes or range(1, len(query.shape) - 1)
    rows, columns = (math.prod(x.shape[axis] for axis in axes) for x in (query, key))
    positions = size(query) // query.shape[-1]
    projected += positions * size(parts.output.kernel)
    # Scores, and the mean of the values that they weigh.
    scores = positions // rows * parts.heads * rows * columns
    return 2 * (projected + scores * (parts.dim + parts.value_dim))


@register_flops(layers.Attention, layers.AdditiveAttention)
def _attention(layer: Any, outputs: Any, inputs: Any) -> float:
    query, value, *key = inputs
    scores = size(query) // query.shape[-1] * value.shape[-2]
    key = key[0] if key else value
    return 2 * scores * (key.shape[-1] + value.shape[-1])


@register_flops(*_GATES)
def _recurrent(layer: Any, outputs: Any, sequence: Any, *states: Any) -> float:
    gates = next(n for kind, n in _GATES.items() if isinstance(layer, kind))
    width = sequence.shape[-1] + layer.units
    return 2 * size(sequence) // sequence.shape[-1] * gates * layer.units * width


@register_flops(layers.Bidirectional)
def _bidirectional(layer: Any, outputs: Any, sequence: Any, *states: Any) -> float:
    both = (layer.forward_layer, layer.backward_layer)
    return sum(flops_of(part, outputs, (sequence,), {}) for part in both)


@register_flops(layers.TimeDistributed)
def _time_distributed(layer: Any, outputs: Any, x: Any) -> float:
    x, y = (_step(h) for h in (x, outputs))
    return outputs.shape[1] * flops_of(layer.layer, y, (x,), {})


def _step(x: Any) -> keras.KerasTensor:
    return keras.KerasTensor((x.shape[0], *x.shape[2:]), x.dtype)


@register_flops("Matmul", "Dot", "Tensordot")
def _product(operation: Any, outputs: Any, x: Any, y: Any) -> float:
    axes = getattr(operation, "axes", 1)
    if not isinstance(axes, int):
        axes = axes[0] if not isinstance(axes[0], int) else axes[:1]
        return 2 * size(outputs) * math.prod(x.shape[axis] for axis in axes)
    return 2 * size(outputs) * math.prod(x.shape[len(x.shape) - axes :])


@register_flops("Einsum")
def _einsum(operation: Any, outputs: Any, *operands: Any) -> float:
    if len(operands) > 2:
        return math.nan  # the order of the products decides
    return _einsum_flops(operation.subscripts, *(h.shape for h in operands))


def _einsum_flops(equation: str, *shapes: Any) -> float:
    """Twice the product of all sizes that letters stand for."""
    sizes: dict[Any, int] = {}
    terms = equation.replace(" ", "").split("->")[0].split(",")
    for term, shape in zip(terms, shapes, strict=True):
        before, _, after = term.partition("...")
        rest = len(shape) - len(before) - len(after)
        # Axes of an ellipsis, from the last on, are shared.
        axes = [*before, *range(-rest, 0), *after]
        for letter, number in zip(axes, shape, strict=True):
            sizes[letter] = max(number, sizes.get(letter, 1))
    return 2 * math.prod(sizes.values())


@register_flops("DotProductAttention")
def _dot_product_attention(
    operation: Any, outputs: Any, query: Any, key: Any, value: Any
) -> float:
    scores = size(query) // query.shape[-1] * key.shape[1]
    return 2 * scores * (query.shape[-1] + value.shape[-1])
