"""The axes of a kernel that every output unit sums over."""

from typing import Any

import keras

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_OUTPUTS_LAST = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
# The layers of Keras with one kernel that makes all outputs.
LAYERS = (*_OUTPUTS_LAST, *_TRANSPOSED, *_DEPTHWISE, keras.layers.EinsumDense)


def fan_axes(layer: Any) -> tuple[int, ...]:
    """The axes of a layer's kernel that one output sums over; the rest are units.

    All but the last of a dense kernel or a convolution, those of space of a depthwise
    one, which gives every channel kernels of its own, all but the last but one of a
    transposed one, and of an `EinsumDense` those that are not among the outputs.

    Args:
        layer: Keras layer of one of `LAYERS` or of a subclass, built.
    """
    if isinstance(layer, keras.layers.EinsumDense):
        _, rest = layer.equation.replace(" ", "").split(",")
        kernel, outputs = rest.split("->")
        return tuple(i for i, letter in enumerate(kernel) if letter not in outputs)
    space = len(getattr(layer, "kernel_size", ()))
    if isinstance(layer, _DEPTHWISE):
        return tuple(range(space))
    if isinstance(layer, _TRANSPOSED):
        return (*range(space), space + 1)
    return tuple(range(space + 1))
