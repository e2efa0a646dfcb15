"""Kernels of layers that an initializer was not derived for."""

import math

import keras

from fixinit import theory
from fixinit.conversion import kinds
from fixinit.initializers import Rescaled
from fixinit.theory import fans

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)

# A variance that shows where an activation saturates.
_LARGE = 1e6


def fitted(initializer, layer, argument, gain=2.0):
    """An initializer of He's family, for a kernel and an activation of any kind.

    He et al. give a kernel the variance `2 / fan`. Keras counts the fan of grouped,
    depthwise and transposed kernels by other numbers than those of the terms that an
    output sums up, and the 2 stands for a ReLU.

    Args:
        initializer: Keras initializer. Only those that scale with a fan are changed.
        layer: Weight layer, built.
        argument: The argument of `layer` that the initializer is for.
        gain: float, what takes the place of 2.

    Returns:
        The initializer, or a `fixinit.initializers.Rescaled` of it.
    """
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return initializer
    if isinstance(layer, keras.layers.EinsumDense):
        # Keras gives them only to what it finds unwrapped.
        axes = dict(
            zip(("input_axes", "output_axes"), _einsum_axes(layer), strict=True)
        )
        config = {**initializer.get_config(), **axes}
        initializer = type(initializer).from_config(config)
    found = fans(
        tuple(kinds.kernel_of(layer, argument).shape),
        initializer.input_axes,
        initializer.output_axes,
    )
    counted = dict(zip(("fan_in", "fan_out"), found, strict=True))
    real = dict(zip(("fan_in", "fan_out"), real_fans(layer, argument), strict=True))
    for fan in (counted, real):
        fan["fan_avg"] = (fan["fan_in"] + fan["fan_out"]) / 2
    mode = initializer.mode
    return rescaled(initializer, gain / 2 * counted[mode] / real[mode])


def rescaled(initializer, factor):
    """The initializer with its variance times a factor."""
    if math.isclose(factor, 1, rel_tol=1e-9):
        return initializer
    if isinstance(initializer, Rescaled):
        factor *= initializer.gain**2
        initializer = initializer.initializer
    return Rescaled(initializer, math.sqrt(factor))


def _einsum_axes(layer):
    """The axes of a kernel that are summed up, and those that are new."""
    inputs, rest = layer.equation.split(",")
    kernel, outputs = rest.split("->")
    return (
        [index for index, axis in enumerate(kernel) if axis not in outputs],
        [index for index, axis in enumerate(kernel) if axis not in inputs],
    )


def real_fans(layer, argument):
    """`(fan_in, fan_out)`: the terms in an output, and the outputs of an input."""
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    fan_in, fan_out = fans(shape)
    if isinstance(layer, keras.layers.Embedding):
        return 1, 1  # one row is read, nothing added up
    if isinstance(layer, keras.layers.EinsumDense):
        return fans(shape, *_einsum_axes(layer))
    if argument == "depthwise_initializer":
        # Each output reads one channel.
        return fan_in // shape[-2], fan_out
    if isinstance(layer, TRANSPOSED):
        # The last two axes are the outputs and the inputs, which lie apart.
        return fan_out / math.prod(layer.strides), fan_in
    return fan_in, fan_out / getattr(layer, "groups", 1)


def assumed_square(operation, mean_square):
    """The mean square of what the closed form has no rule for, from that it reads.

    Weight layers add up independent products, and then activate; all else keeps it.
    """
    layer = kinds.unwrapped(operation)
    arguments = kinds.kernel_arguments(layer)
    for argument in arguments:
        shape = tuple(kinds.kernel_of(layer, argument).shape)
        mean, variance = theory.weight_moments(getattr(layer, argument), shape)
        mean_square *= real_fans(layer, argument)[0] * (mean**2 + variance)
    held = getattr(layer, "activation", None) if arguments else None
    if held in (None, keras.activations.linear):
        return mean_square
    try:
        return theory.activation_square(layer, mean_square)
    except theory.NoRuleError:
        return mean_square


def gain_behind(operation):
    """He's 2, for the activation that an operation is or holds.

    An activation that nothing is known of counts as a ReLU.
    """
    try:
        return theory.activation_gain(operation)
    except theory.NoRuleError:
        return 2.0


def wanted_behind(operation):
    """The mean square that signals are to have behind an activation.

    1, as large as the input, or, where it saturates below that, what variance 1 gives.
    """
    try:
        if theory.activation_square(operation, _LARGE) > 1:
            return 1.0
        return theory.activation_square(operation)
    except theory.NoRuleError:
        return 1.0


def is_homogeneous(operation):
    """Whether an activation gives twice as much where it reads twice as much."""
    try:
        small, large = (theory.activation_gain(operation, v) for v in (1.0, 4.0))
    except theory.NoRuleError:
        return False
    return math.isclose(small, large, rel_tol=1e-6)
