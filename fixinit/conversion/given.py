"""What a weight layer was given on purpose, which no scheme takes away."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from fixinit import theory
from fixinit.conversion import kernels, kinds
from fixinit.layers import facts_of

# Of the mean square of an output that is to be 1: above, it is the bias that says how
# large the output is.
_LARGE_BIAS = 0.25
_ON_BIAS = ("regularizer", "constraint")
# Of a mean square: what a constraint may change that is nothing but rounding.
_TOLERANCE = 1e-3


def bias_square(layer: Any) -> float:
    """The mean square of a layer's bias vector at its start, 0 without one.

    A prior for rare classes is one, or the offset of a gate. Random numbers around
    zero are none.
    """
    layer = kinds.unwrapped(layer)
    bias = getattr(layer, "bias", None)
    if bias is None or not hasattr(layer, "bias_initializer"):
        return 0.0
    mean, square = _moments(layer.bias_initializer, tuple(bias.shape))
    is_random = hasattr(layer.bias_initializer, "seed")
    return 0.0 if is_random and mean == 0 else square


def keeps_bias(layer: Any) -> bool:
    """Whether a layer starts with a bias that is not zero."""
    return bias_square(layer) > 0


def has_size(layer: Any) -> bool:
    """Whether a constraint or a large bias says how large a layer's outputs are."""
    return bool(kernel_constraint(layer)) or bias_square(layer) > _LARGE_BIAS


def is_zero(layer: Any) -> bool:
    """Whether a layer's main kernel starts at zero."""
    layer = kinds.unwrapped(layer)
    argument = kinds.kernel_arguments(layer)[-1]
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    return _moments(getattr(layer, argument), shape)[1] == 0


def shuts(path: Iterable[Any], producers: dict[int, Any]) -> bool:
    """Whether a path is multiplied by zeros that a weight layer makes on purpose.

    So are the branches of diffusion transformers, by what they make of the condition.

    Args:
        path: `fixinit.graph.Call`s.
        producers: Those of the graph.
    """
    return any(
        _makes_zeros(producers, value)
        for call in path
        if facts_of(call.operation).multiplies and len(call.inputs) == 2
        for value in call.inputs
    )


def _makes_zeros(producers: dict[int, Any], value: int) -> bool:
    """Whether a value is what a kernel of zeros gives, in any shape."""
    call = producers[value]
    while facts_of(call.operation).rearranges:
        call = producers[call.inputs[0]]
    layer = kinds.unwrapped(call.operation)
    known = kinds.kernel_arguments(layer)
    return bool(known) and is_zero(layer) and not keeps_bias(layer)


def _moments(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """`(mean, mean square)` of what an initializer draws."""
    try:
        mean, variance = theory.weight_moments(initializer, shape)
    except theory.NoRuleError:
        drawn = keras.ops.convert_to_numpy(initializer(shape, dtype="float32"))
        return float(np.mean(drawn)), float(np.mean(np.square(drawn)))
    return mean, mean**2 + variance


def inside_constraint(initializer: Any, layer: Any) -> Any:
    """The initializer with the size that the constraint of a layer's kernel leaves.

    Otherwise the first step of the training would change the kernel by that much.

    Args:
        initializer: Keras initializer of the main kernel.
        layer: Weight layer, built.
    """
    constraint = kernel_constraint(layer)
    if constraint is None:
        return initializer
    argument = kinds.kernel_arguments(layer)[-1]
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    drawn = initializer(shape, dtype="float32")
    before, after = (
        float(np.mean(np.square(keras.ops.convert_to_numpy(kernel))))
        for kernel in (drawn, constraint(drawn))
    )
    if before == 0 or abs(after / before - 1) < _TOLERANCE:
        return initializer
    return kernels.rescaled(initializer, after / before)


def kernel_constraint(layer: Any) -> Any:
    """The constraint of the main kernel of a known weight layer, or `None`."""
    layer = kinds.unwrapped(layer)
    name = kinds.kernel_arguments(layer)[-1].removesuffix("_initializer")
    return getattr(layer, f"{name}_constraint", None)


def constrain(layers: Iterable[Any]) -> None:
    """Applies the constraints of kernels, as the first step of the training would."""
    for layer in layers:
        constraint = kernel_constraint(layer)
        if constraint is not None:
            kernel = kinds.kernel_of(layer, kinds.kernel_arguments(layer)[-1])
            kernel.assign(constraint(kernel.value))


def loses_regularizer(layer: Any) -> bool:
    """Whether a bias has a regularizer or a constraint that goes where it goes."""
    layer = kinds.unwrapped(layer)
    held = (getattr(layer, f"bias_{what}", None) for what in _ON_BIAS)
    return getattr(layer, "bias", None) is not None and any(held)
