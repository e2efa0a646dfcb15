"""What kind of layer a layer is, to the converter."""

import keras

from fixinit import layers

# Without `Normalization`, which standardizes data by statistics that it was given.
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)
# Operations of `keras.ops` that normalize. Their classes are not public.
_OPERATIONS = ("BatchNorm", "LayerNorm", "RMSNorm", "Normalize", "Moments")
# Weight layers, and their arguments that draw kernels, the main one last.
_KERNELS = (
    (
        (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
        ("depthwise_initializer", "pointwise_initializer"),
    ),
    (
        (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
        ("depthwise_initializer",),
    ),
    (
        (
            keras.layers.Dense,
            keras.layers.EinsumDense,
            keras.layers.Conv1D,
            keras.layers.Conv2D,
            keras.layers.Conv3D,
            keras.layers.Conv1DTranspose,
            keras.layers.Conv2DTranspose,
            keras.layers.Conv3DTranspose,
            layers.ProjectionShortcut,
        ),
        ("kernel_initializer",),
    ),
    ((keras.layers.Embedding,), ("embeddings_initializer",)),
)
# Linear in what they read: the names of layers and operations.
_LINEAR = (
    *("Add", "Subtract", "ScaledAdd", "CustomScaleLayer", "Concatenate", "Average"),
    *("Reshape", "Flatten", "Permute", "Transpose", "Squeeze", "ExpandDims"),
    *("Cropping1D", "Cropping2D", "Cropping3D", "Pad", "Identity", "Cast"),
    *(
        "UpSampling1D",
        "UpSampling2D",
        "UpSampling3D",
        "RepeatVector",
        "StochasticDepth",
    ),
    *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
)
# Linear where they read one tensor, and a number.
_FACTORS = ("Multiply", "TrueDivide", "Divide", "Rescaling")
_PADDING = (
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
)
# What signals pass one by one, or a few of them together.
_PASSES = (
    *_PADDING,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


def is_normalization(layer):
    """Whether a layer normalizes, or does nothing but apply one that does."""
    if isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
    return any(
        isinstance(layer, kind) and type(layer).call is kind.call
        for kind in NORMALIZATIONS
    )


def is_normalizing_operation(operation):
    """Whether an operation of `keras.ops` normalizes, or measures to do so."""
    kind = type(operation).__name__
    return kind in _OPERATIONS and not isinstance(operation, keras.layers.Layer)


def is_branch_scale(layer):
    """Whether a layer is what an earlier scheme put there: its work is taken over."""
    # `LayerScale` is that of keras.applications.ConvNeXt, which is not public.
    ours = (layers.ScalarBias, layers.ScalarMultiplier)
    kind = type(layer)
    keras_own = kind.__module__.startswith("keras.") and kind.__name__ == "LayerScale"
    return isinstance(layer, ours) or keras_own


def is_padding(layer):
    """Whether a layer pads with zeros."""
    return isinstance(layer, _PADDING)


def passes(layer):
    """Whether a layer pads, pools a few neighbours or drops."""
    return isinstance(layer, _PASSES)


def is_linear(call, gates):
    """Whether what a call gives is linear in what it reads, gates aside."""
    operation, name = call.operation, type(call.operation).__name__
    if _adds_constant(call):
        return False
    if passes(operation) or is_branch_scale(operation) or name in _LINEAR:
        return True
    if is_normalization(operation):
        return False
    return is_factor(call) or (name in _FACTORS and _is_gated(call, gates))


def is_factor(call):
    """Whether a call multiplies by a constant, or divides by one."""
    name = type(call.operation).__name__
    if name not in _FACTORS or len(call.inputs) > 1:
        return False
    if call.node is None:
        return True
    arguments = call.node.arguments
    if len(arguments.keras_tensors) > 1:
        return False  # `h * h`
    first = next(iter(arguments.args), None)
    # Not `1 / h`.
    return name in ("Multiply", "Rescaling") or first is arguments.keras_tensors[0]


def _adds_constant(call):
    """Whether a call adds a constant to a tensor, as `h + 1` does."""
    operators = type(call.operation).__name__ in ("Add", "Subtract")
    return operators and call.node is not None and len(call.node.input_tensors) == 1


def _is_gated(call, gates):
    return any(set(gate.outputs) & set(call.inputs) for gate in gates)


def unwrapped(layer):
    """The layer inside of a `SpectralNormalization`, any other as it is."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        return layer.layer
    return layer


def kernel_arguments(layer):
    """The arguments of a weight layer that draw its kernels, the main one last.

    Empty for layers whose kernels the converter leaves to themselves. Those of a
    subclass that computes in its own way, as with standardized weights, are among them.
    """
    layer = unwrapped(layer)
    for kinds, arguments in _KERNELS:
        kind = next((kind for kind in kinds if isinstance(layer, kind)), None)
        if kind is not None and _computes_as(type(layer), kind):
            return arguments
    return ()


def _computes_as(subclass, kind):
    """Whether a class of layers computes what a class that it inherits from does."""
    names = ("call", "build", "convolution_op", "kernel", "embeddings")
    return all(
        getattr(subclass, name, None) is getattr(kind, name, None) for name in names
    )


def is_unknown(operation):
    """Whether a layer without kernels is of a class that only its author knows."""
    known = type(operation).__module__.partition(".")[0] in ("keras", "fixinit")
    is_layer = isinstance(operation, keras.layers.Layer)
    return is_layer and not known and not kernel_arguments(operation)


def kernel_of(layer, argument):
    """The variable that an argument of a built layer draws."""
    layer = getattr(layer, "projection", layer)
    name = argument.removesuffix("_initializer")
    names = (f"{name}_kernel", name, "kernel")
    return next(getattr(layer, n) for n in names if hasattr(layer, n))


def constraints(layer):
    """The constraints of the main kernel and of the bias of a known weight layer."""
    layer = unwrapped(layer)
    kernel = kernel_arguments(layer)[-1].removesuffix("_initializer")
    found = (getattr(layer, f"{name}_constraint", None) for name in (kernel, "bias"))
    return [constraint for constraint in found if constraint is not None]


def reads_signals(layer):
    """Whether a weight layer reads numbers that say how much, and not which."""
    return not isinstance(layer, keras.layers.Embedding)


def is_frozen_embedding(layer):
    """Whether a layer is an embedding that training leaves as it is."""
    return isinstance(layer, keras.layers.Embedding) and not layer.trainable


def is_fused(call):
    """Whether the call of a weight layer that the converter knows is activated."""
    activation = getattr(unwrapped(call.operation), "activation", None)
    linear = activation in (None, keras.activations.linear)
    return bool(kernel_arguments(call.operation)) and not linear
