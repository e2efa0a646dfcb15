"""Calls that are measured together with their ancestors."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend, graph
from fixinit._typing import Tensor
from fixinit.layers import Parameter
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.evaluation.random_outputs import BATCH, RandomCalls, again, drawn


class JointCalls(RandomCalls):
    """A call that is made several times, of tensors that depend on the same weights.

    All calls that it depends on are made before it, with the weights of each draw.
    Weights that a graph reads as values are those that there are.

    Args:
        call: `fixinit.graph.Call`.
        traced: `fixinit.graph.Graph` of which it is a call.
        values: Dict from its values to `Moments`. The inputs of the graph are drawn:
            whole numbers from the vocabulary of the embedding that reads them.
        replaced: Dict from ids of layers to layers in their place.
        training: bool, for layers that have modes.
    """

    def __init__(
        self,
        call: graph.Call,
        traced: graph.Graph,
        values: Mapping[int, Moments],
        replaced: Mapping[int, Any],
        training: bool = False,
    ) -> None:
        operation = replaced.get(id(call.operation), call.operation)
        super().__init__(call, (), (), training, operation)
        self._graph, self._values, self._replaced = traced, values, replaced
        self._before = _calls_before(call, traced)

    def _tensors(self, rng: np.random.Generator) -> list[Tensor]:
        values: dict[int, Tensor] = {}
        layers: dict[int, Any] = {}
        for value in self._graph.inputs:
            values[value] = self._input(value, rng)
        for call in self._before:
            if call.outputs[0] in values:
                continue
            operation = self._replaced.get(id(call.operation), call.operation)
            if id(operation) not in layers:
                layers[id(operation)] = _for_one_draw(operation)
            found = self._made(layers[id(operation)], call, values)
            values.update(zip(call.outputs, found, strict=True))
        return [values[value] for value in self._call.inputs]

    def _input(self, value: int, rng: np.random.Generator) -> Tensor:
        """A random tensor in the place of an input of the graph."""
        x, spec = self._values[value], self._graph.specs[value]
        dtype = keras.backend.standardize_dtype(spec.dtype)
        if "int" not in dtype and dtype != "bool":
            return drawn(x, spec, rng)
        readers = self._graph.consumers().get(value, ())
        name = self._graph.producers()[value].name
        tail = (*x.shape, x.total_channels)[: len(spec.shape) - 1]
        shape = (spec.shape[0] or BATCH, *tail)
        if dtype == "bool" or "mask" in name:
            return ops.ones(shape, dtype)
        sizes = [getattr(call.operation, "input_dim", None) for call in readers]
        count = min((n for n in sizes if n), default=2)
        return ops.convert_to_tensor(rng.integers(0, count, shape), dtype)

    def _made(
        self, operation: Any, call: graph.Call, values: dict[int, Tensor]
    ) -> list[Tensor]:
        args, kwargs = call.fill([values[value] for value in call.inputs])
        modes = {}
        if isinstance(operation, keras.layers.Layer):
            modes = {"training": self._training}
        with backend.kept_random_state():
            if getattr(operation, "built", True):
                with keras.StatelessScope():
                    return tree.flatten(operation(*args, **{**kwargs, **modes}))
            return tree.flatten(operation(*args, **{**kwargs, **modes}))


def _calls_before(call: graph.Call, traced: graph.Graph) -> list[graph.Call]:
    """The calls that a call depends on, in their order."""
    wanted, found = set(call.inputs), []
    for other in reversed(traced.calls):
        if other is not call and wanted & set(other.outputs):
            found.append(other)
            wanted |= set(other.inputs)
    return found[::-1]


def _for_one_draw(operation: Any) -> Any:
    is_layer = isinstance(operation, keras.layers.Layer)
    if not is_layer or isinstance(operation, Parameter) or not operation.trainable:
        return operation
    return again(operation)
