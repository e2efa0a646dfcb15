"""Constants in the place of the statistics of single inputs, measured on data."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit._typing import Tensor
from fixinit.graph import Call, Graph, Hook, run
from fixinit.graph.functional import functional_of
from fixinit.layers import facts_of

MEASURED = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.GroupNormalization,
)


def is_measurable(layer: Any) -> bool:
    """Whether constants can take the place of what a layer measures of its input.

    A subclass that computes something else is none of them, nor is a normalization over
    several axes.
    """
    axis = getattr(layer, "axis", None)
    is_single = not isinstance(axis, (list, tuple)) or len(axis) == 1
    return isinstance(layer, MEASURED) and facts_of(layer).normalizes and is_single


def measured_unless(keep: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A function from an operation to whether it gets constants."""
    return lambda operation: is_measurable(operation) and not keep(operation)


def axis_of(layer: Any) -> int:
    """The axis of a layer's scales."""
    return layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis


def is_centered(layer: Any) -> bool:
    """Whether a layer takes away the mean of the channels at each place."""
    is_layer_norm = isinstance(layer, keras.layers.LayerNormalization)
    return is_layer_norm and not getattr(layer, "rms_scaling", False)


def measure(
    graph: Graph, inputs: list[Any], folds: Callable[[Any], bool]
) -> dict[str, np.ndarray]:
    """The constants of all normalizations, from one pass.

    Each layer reads what the network gives with constants in front of it.

    Args:
        graph: `Graph`.
        inputs: List of arrays, a batch for each input.
        folds: Function from an operation to whether it gets constants.

    Returns:
        Dict from names of calls to arrays: the average standard deviation or root mean
        square over inputs and places; of groups, their average means, and these. Inside
        of a stack, stacked along a first axis.
    """
    tensors = [ops.convert_to_tensor(x) for x in inputs]
    with keras.StatelessScope():
        _, found = run(graph, tensors, _Constants(folds))
    return {
        name: ops.convert_to_numpy(value).astype("float64")
        for name, value in found.items()
    }


class _Constants(Hook):
    """Measures what normalizations divide by, and divides by the average of it."""

    def __init__(self, folds: Callable[[Any], bool]) -> None:
        self._folds = folds
        self._read: dict[Call, Tensor] = {}
        self._found: dict[Call, Tensor] = {}

    def enter(self, call: Call, inputs: list[Tensor], control: Any) -> list[Tensor]:
        if self._folds(call.operation):
            self._read[call] = inputs[0]
        return inputs

    def leave(self, call: Call, outputs: list[Tensor], control: Any) -> list[Tensor]:
        if not self._folds(call.operation):
            return outputs
        layer, x = call.operation, ops.cast(self._read[call], "float32")
        self._found[call] = found = _statistics(layer, x)
        scale, shift = affine(layer, found)
        axis = axis_of(layer)
        if is_centered(layer):
            x = x - ops.mean(x, axis=axis, keepdims=True)
        shape = [1] * len(x.shape)
        shape[axis] = x.shape[axis]
        y = x * ops.reshape(scale, shape) + ops.reshape(shift, shape)
        return [ops.cast(y, outputs[0].dtype)]

    def observation_shape(self, call: Call) -> tuple[int, ...] | None:
        if not self._folds(call.operation):
            return None
        is_grouped = isinstance(call.operation, keras.layers.GroupNormalization)
        return (2, call.operation.groups) if is_grouped else ()

    def observe(self, call: Call, inputs: Any, outputs: Any) -> Tensor:
        return self._found[call]


def _statistics(layer: Any, x: Tensor) -> Tensor:
    """What `measure` says of one layer and its input, in float32."""
    if isinstance(layer, keras.layers.GroupNormalization):
        x = ops.moveaxis(x, axis_of(layer), -1)
        shape = (ops.shape(x)[0], -1, layer.groups, x.shape[-1] // layer.groups)
        mean, variance = ops.moments(ops.reshape(x, shape), axes=[1, 3])
        deviation = ops.sqrt(variance + layer.epsilon)
        return ops.stack([ops.mean(mean, axis=0), ops.mean(deviation, axis=0)])
    axis = axis_of(layer)
    if is_centered(layer):
        square = ops.var(x, axis=axis)
    else:
        square = ops.mean(ops.square(x), axis=axis)
    return ops.mean(ops.sqrt(square + layer.epsilon))


def affine(layer: Any, found: Any) -> tuple[Any, Any]:
    """`(scale, shift)` of every channel, with the statistics that were found."""
    gamma, beta = (
        getattr(layer, name, None)
        for name in (("scale", "") if _is_rms(layer) else ("gamma", "beta"))
    )
    channels = layer.get_build_config()["input_shape"][axis_of(layer)]
    scale = ops.ones((channels,)) if gamma is None else ops.cast(gamma, "float32")
    shift = ops.zeros((channels,)) if beta is None else ops.cast(beta, "float32")
    found = ops.convert_to_tensor(found, "float32")
    if not isinstance(layer, keras.layers.GroupNormalization):
        return scale / found, shift
    mean, deviation = (ops.repeat(found[i], channels // layer.groups) for i in (0, 1))
    scale = scale / deviation
    return scale, shift - mean * scale


def _is_rms(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RMSNormalization)


def moved(model: keras.Model, new: keras.Model, inputs: list[Any]) -> float:
    """The root mean square change of a new model's outputs, relative to the old."""
    tensors = [ops.convert_to_tensor(x) for x in inputs]
    structure = _keras.input_structure(functional_of(model))
    given = tree.pack_sequence_as(structure, tensors)
    with keras.StatelessScope():
        outputs = [tree.flatten(m(given)) for m in (model, new)]
    changed = size = 0.0
    for pair in zip(*outputs, strict=True):
        old, other = (ops.convert_to_numpy(y).astype("float64") for y in pair)
        changed += np.sum((other - old) ** 2)
        size += np.sum(old**2)
    return float(np.sqrt(changed / size)) if size else float(changed > 0)
