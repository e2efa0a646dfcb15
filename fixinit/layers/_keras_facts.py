"""The facts of Keras's own layers, operations and activation functions."""

import dataclasses

import keras
from keras import layers

from fixinit._keras import ConvLSTMCell, CustomScaleLayer, LayerScale, operation
from fixinit.layers.facts import Facts, facts_of, register_facts


def _register(facts, *targets):
    """Registers classes, functions, and operations by the names of their classes."""
    for target in targets:
        register_facts(operation(target) if isinstance(target, str) else target, facts)


def _register_arithmetic():
    linear = Facts(linear=True, follows_head=True)
    adds = dataclasses.replace(linear, adds=True)
    _register(adds, layers.Add, "Add")
    difference = dataclasses.replace(adds, factors=(1.0, -1.0))
    _register(difference, layers.Subtract, "Subtract")
    _register(dataclasses.replace(linear, joins=True), layers.Average)
    _register(Facts(joins=True), layers.Maximum, layers.Minimum, "Maximum", "Minimum")
    _register(Facts(multiplies=True), layers.Multiply, "Multiply")
    _register(Facts(multiplies=True, follows_head=True), layers.Rescaling)
    _register(Facts(divides=True), "TrueDivide", "Divide")
    _register(linear, layers.Concatenate, "Concatenate", "Stack", "Mean", "Sum")
    _register(Facts(linear=True), "Average", "Pad")
    _register(Facts(measures=True), "Var", "Std", "Sqrt", "Rsqrt", "Norm")
    _register(Facts(follows_head=True), "Clip", "Exp")
    _register(linear, layers.Identity)
    _register(Facts(elementwise=True), layers.Normalization)
    _register(Facts(constant=True), "ZerosLike", "OnesLike")


def _register_shapes():
    moves = Facts(rearranges=True, follows_head=True)
    _register(moves, "GetItem", "BroadcastTo", "Repeat", "Resize", "Split")
    _register(moves, layers.Resizing)
    linear = dataclasses.replace(moves, linear=True)
    _register(linear, layers.Permute, layers.RepeatVector, "Transpose", "ExpandDims")
    _register(linear, layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
    _register(linear, layers.Reshape, layers.Flatten, "Reshape", "Squeeze", "Cast")
    crops = Facts(linear=True, follows_head=True)
    _register(crops, layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)


def _register_pooling():
    ends = Facts(linear=True, follows_head=True)
    pads = Facts(linear=True, passes=True, pads=True)
    passes = Facts(linear=True, passes=True)
    for rank in ("1D", "2D", "3D"):
        _register(ends, getattr(layers, f"GlobalAveragePooling{rank}"))
        _register(pads, getattr(layers, f"ZeroPadding{rank}"))
        for name in ("MaxPooling", "AveragePooling", "SpatialDropout"):
            _register(passes, getattr(layers, name + rank))
    drops = dataclasses.replace(passes, rearranges=True, follows_head=True)
    _register(drops, layers.Dropout, layers.GaussianDropout)


def _register_normalizations():
    normalizes = Facts(normalizes=True)
    _register(
        normalizes,
        layers.LayerNormalization,
        layers.GroupNormalization,
        layers.RMSNormalization,
        layers.UnitNormalization,
        *("BatchNorm", "LayerNorm", "RMSNorm", "Normalize", "Moments"),
    )
    _register(
        Facts(normalizes=True, start="gamma_initializer"), layers.BatchNormalization
    )


def _register_scales():
    _register(Facts(scales_branch=True, linear=True), LayerScale)
    _register(
        lambda layer: Facts(
            adds=True, linear=True, scales_branch=True, factors=(1.0, layer.scale)
        ),
        CustomScaleLayer,
    )


def _register_weights():
    kernels = ("kernel_initializer",)
    _register(
        Facts(kernels=kernels, units={"kernel": (-1,)}),
        *(layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D),
    )
    # Kernels of transposed convolutions end in (outputs, inputs).
    _register(
        Facts(kernels=kernels, units={"kernel": (-2,)}),
        *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    )
    _register(
        lambda layer: Facts(kernels=kernels, units=_einsum_units(layer.equation)),
        layers.EinsumDense,
    )
    # Depthwise kernels end in (inputs, multiplier), which number the outputs.
    _register(
        Facts(kernels=("depthwise_initializer",), units={"kernel": (-2, -1)}),
        *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    )
    _register(
        Facts(
            kernels=("depthwise_initializer", "pointwise_initializer"),
            units={"depthwise_kernel": (-2, -1), "pointwise_kernel": (-1,)},
        ),
        *(layers.SeparableConv1D, layers.SeparableConv2D),
    )
    # A unit is the vector of one token.
    embeddings = ("embeddings_initializer",)
    _register(Facts(kernels=embeddings, units={"embeddings": (0,)}), layers.Embedding)
    _register(
        Facts(units={"embeddings": (0,), "reverse_embeddings": (-1,)}),
        layers.ReversibleEmbedding,
    )
    recurrent: dict[str, tuple[int, ...]] = {"kernel": (-1,), "recurrent_kernel": (-1,)}
    _register(
        Facts(units=recurrent), layers.SimpleRNNCell, layers.LSTMCell, ConvLSTMCell
    )
    # That of a GRU may hold two vectors: of its inputs, and of its state.
    _register(
        lambda layer: Facts(
            units=recurrent | {"bias": (0,) if layer.reset_after else ()}
        ),
        layers.GRUCell,
    )


def _einsum_units(equation):
    """The axes of an `EinsumDense`'s weights that its outputs have, too."""
    inputs, outputs = equation.replace(" ", "").split("->")
    kernel = inputs.split(",")[1]
    axes = tuple(i for i, label in enumerate(kernel) if label in outputs)
    # The bias is a vector, in the shape of the outputs.
    return {"kernel": axes, "bias": ()}


# By the names of the functions in `keras.activations`.
_BOUNDED = {"sigmoid", "hard_sigmoid", "softmax", "tanh", "hard_tanh"}
_COMPARES_CHANNELS = {"softmax", "log_softmax", "glu", "sparsemax", "sparse_plus"}
# 0, without a slope, for inputs below a point, or around 0.
_FLAT = {
    *("relu", "relu6", "hard_sigmoid", "sparse_sigmoid", "hard_silu", "sparse_plus"),
    *("hard_shrink", "soft_shrink", "threshold"),
}
# Link functions: what stands behind class scores and estimates.
_LINKS = {
    *("linear", "softmax", "log_softmax", "sigmoid", "hard_sigmoid", "log_sigmoid"),
    *("tanh", "hard_tanh", "softplus", "exponential"),
}
# The layers, and the classes of operations, that are one activation.
_CLASSES = {
    "relu": (layers.ReLU, "Relu", "ReLU"),
    "leaky_relu": (layers.LeakyReLU, layers.PReLU, "LeakyRelu"),
    "elu": (layers.ELU, "Elu"),
    "softmax": (layers.Softmax, "Softmax"),
    **{
        name: ("".join(part.capitalize() for part in name.split("_")),)
        for name in (
            *("relu6", "sigmoid", "sparse_sigmoid", "softplus", "softsign", "tanh"),
            *("soft_shrink", "sparse_plus", "silu", "squareplus", "log_sigmoid"),
            *("hard_sigmoid", "hard_silu", "selu", "gelu", "celu", "glu", "mish"),
            *("tanh_shrink", "hard_tanh", "hard_shrink", "threshold", "log_softmax"),
            "sparsemax",
        )
    },
    "linear": (),
    "exponential": (),
}


def _register_activations():
    for name, classes in _CLASSES.items():
        facts = Facts(
            activates=True,
            bounded=name in _BOUNDED,
            flat=name in _FLAT,
            compares_channels=name in _COMPARES_CHANNELS,
            follows_head=name in _LINKS,
        )
        _register(facts, getattr(keras.activations, name), *classes)
        if hasattr(keras.ops, name):
            register_facts(getattr(keras.ops, name), facts)
    leaks = (layers.ReLU, "ReLU", layers.LeakyReLU, "LeakyRelu")
    _register(
        lambda layer: Facts(activates=True, flat=not layer.negative_slope), *leaks
    )
    _register(
        lambda layer: dataclasses.replace(facts_of(layer.activation), activates=True),
        layers.Activation,
    )


def register_keras() -> None:
    """Registers what is known of Keras."""
    _register_arithmetic()
    _register_shapes()
    _register_pooling()
    _register_normalizations()
    _register_scales()
    _register_weights()
    _register_activations()
