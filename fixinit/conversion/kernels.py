"""Initializers of the He family for kernels and activations of every kind."""

import math
from typing import Any

import keras

from fixinit import theory
from fixinit.conversion import kinds
from fixinit.initializers import Corrected, Rescaled, ScaledUniformOrthogonal
from fixinit.layers import facts_of
from fixinit.theory import fans

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)

# A variance that shows where an activation saturates.
_LARGE = 1e6


def fitted(initializer: Any, layer: Any, argument: str, gain: float = 2.0) -> Any:
    """An initializer of the He family, corrected for the layer and its activation.

    He et al. give a kernel the variance `2 / fan`, where the fan is the number of terms
    in the sum that an output is. For grouped, depthwise and transposed kernels, Keras
    counts others. The 2 stands for a ReLU, and `gain` takes its place.

    Args:
        initializer: Keras initializer. Only those that scale with a fan are changed.
        layer: Weight layer, built.
        argument: The argument of `layer` that the initializer is for.
        gain: float, the reciprocal of the mean square that the activation gives for
            inputs of mean square 1.

    Returns:
        The initializer, or a `fixinit.initializers.Rescaled` of it.
    """
    if isinstance(initializer, ScaledUniformOrthogonal):
        return _orthogonal(initializer, layer, argument)
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        return initializer
    if isinstance(layer, keras.layers.EinsumDense):
        # Keras gives them only to what it finds unwrapped.
        input_axes, output_axes = _einsum_axes(layer)
        axes = {"input_axes": input_axes, "output_axes": output_axes}
        config = {**initializer.get_config(), **axes}
        seed, initializer = initializer.seed, type(initializer).from_config(config)
        initializer.seed = seed
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    counted = fans(shape, initializer.input_axes, initializer.output_axes)
    real = real_fans(layer, argument)
    mode = initializer.mode
    return rescaled(initializer, gain / 2 * _fan(counted, mode) / _fan(real, mode))


def _orthogonal(initializer: ScaledUniformOrthogonal, layer: Any, argument: str) -> Any:
    """An orthogonal draw where a kernel is one matrix, elsewhere one of its variance.

    Depthwise and transposed kernels, and those of an `EinsumDense` with more axes, have
    the variance of a unit over the terms that an output sums up.
    """
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    is_matrix = argument != "depthwise_initializer" and not isinstance(
        layer, TRANSPOSED
    )
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, outputs = _einsum_axes(layer)
        is_matrix = len(shape) == 2 and (inputs, outputs) == ([0], [1])
    if is_matrix:
        return initializer
    variance = initializer.gain**2 / real_fans(layer, argument)[0]
    return keras.initializers.RandomNormal(
        stddev=math.sqrt(variance), seed=initializer.seed
    )


def _fan(found: tuple[float, float], mode: str) -> float:
    """The fan that a `keras.initializers.VarianceScaling` of some mode divides by."""
    fan_in, fan_out = found
    average = (fan_in + fan_out) / 2
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": average}[mode]


def rescaled(initializer: Any, factor: float) -> Any:
    """The initializer with its variance times a factor."""
    if math.isclose(factor, 1, rel_tol=1e-9):
        return initializer
    if isinstance(initializer, keras.initializers.Ones):
        initializer = keras.initializers.Constant(1.0)
    if isinstance(initializer, keras.initializers.Constant):
        return keras.initializers.Constant(initializer.value * math.sqrt(factor))
    if isinstance(initializer, Rescaled):
        factor *= initializer.gain**2
        initializer = initializer.initializer
    return Rescaled(initializer, math.sqrt(factor))


def rescale(layer: Any, factor: float) -> None:
    """Draws a kernel with another variance, now and when the layer is made again."""
    scale(layer, factor)
    argument = kinds.size_argument(layer)
    _set_initializer(layer, rescaled(getattr(layer, argument), factor))


def correct(layer: Any, factor: float) -> None:
    """Makes up for one draw of a kernel, whose variance over draws stays as it is."""
    if factor == 1:
        return
    scale(layer, factor)
    argument = kinds.size_argument(layer)
    initializer = Corrected(getattr(layer, argument), math.sqrt(factor))
    _set_initializer(layer, initializer)


def is_corrected(layer: Any) -> bool:
    """Whether a layer's kernel makes up for what its draw deviates by."""
    layer = kinds.unwrapped(layer)
    if not kinds.kernel_arguments(layer):
        return False
    return isinstance(getattr(layer, kinds.size_argument(layer)), Corrected)


def draw(layer: Any, initializer: Any) -> None:
    """Draws a kernel anew, now and when the layer is made again."""
    argument = kinds.kernel_arguments(layer)[-1]
    kernel = kinds.kernel_of(layer, argument)
    kernel.assign(initializer(tuple(kernel.shape), dtype=kernel.dtype))
    _set_initializer(layer, initializer, argument)


def _set_initializer(layer: Any, initializer: Any, argument: str | None = None) -> None:
    setattr(layer, argument or kinds.size_argument(layer), initializer)
    if hasattr(layer, "projection"):
        layer.projection.kernel_initializer = initializer


def scale(layer: Any, factor: float) -> None:
    """Multiplies the variance of a layer's kernel, and not what would draw it."""
    size = kinds.kernel_of(layer, kinds.size_argument(layer))
    size.assign(size * math.sqrt(factor))


def _einsum_axes(layer: Any) -> tuple[list[int], list[int]]:
    """The axes of a kernel that the layer sums over, and those of its outputs."""
    inputs, rest = layer.equation.split(",")
    kernel, outputs = rest.split("->")
    return (
        [index for index, axis in enumerate(kernel) if axis not in outputs],
        [index for index, axis in enumerate(kernel) if axis not in inputs],
    )


def real_fans(layer: Any, argument: str) -> tuple[float, float]:
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


def assumed_square(operation: Any, mean_square: float) -> float:
    """The mean square that a layer without a variance rule is assumed to give.

    Weight layers sum independent products and then activate; all other layers keep the
    mean square that they read.
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


def gain_behind(operation: Any) -> float:
    """The gain of an activation, 2 for a ReLU: a kernel's variance times its fan.

    An activation without a variance rule counts as a ReLU. One that is made for inputs
    of unit variance asks for no more than that: 1.
    """
    if facts_of(operation).unit_variance:
        return 1.0
    try:
        return theory.activation_gain(operation)
    except theory.NoRuleError:
        return 2.0


def wanted_behind(operation: Any) -> float:
    """The mean square that the converter aims at behind an activation.

    It is 1, as of the input, or, for an activation that saturates below that, the mean
    square that it gives for inputs of variance 1, as for one that is made for these.
    """
    try:
        if facts_of(operation).unit_variance:
            return theory.activation_square(operation)
        if theory.activation_square(operation, _LARGE) > 1:
            return 1.0
        return theory.activation_square(operation)
    except theory.NoRuleError:
        return 1.0


def is_homogeneous(operation: Any) -> bool:
    """Whether doubled inputs double the outputs of an activation."""
    try:
        small, large = (theory.activation_gain(operation, v) for v in (1.0, 4.0))
    except theory.NoRuleError:
        return False
    return math.isclose(small, large, rel_tol=1e-6)
