"""FLOPs and bytes of the calls of a graph."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from fixinit import graph
from fixinit.diagnostics.report.columns import flop_rules  # noqa: F401
from fixinit.diagnostics.report.columns.flops import flops_of

# Dict from names of calls to the shapes that one reads and gives.
Shapes = Mapping[str, tuple[Sequence[tuple], Sequence[tuple]]]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of one call.

    Attributes:
        flops: float. Of the forward pass of one sample, NaN if unknown.
        parameter_bytes: int. Of all weights of the layer.
        activation_bytes: float. Of the outputs for one sample.
    """

    flops: float
    parameter_bytes: int
    activation_bytes: float


COSTS = tuple(field.name for field in dataclasses.fields(Cost))


def costs(model_graph: graph.Graph, shapes: Shapes, batch_size: int) -> dict[str, Cost]:
    """The costs of all calls but stacks, which are one block's inside of a stack.

    Args:
        model_graph: `fixinit.graph.Graph`.
        shapes: The shapes of the tensors of a run.
        batch_size: int. The number of samples in them.
    """
    return {
        call.name: _cost(inner, call, *shapes[call.name], batch_size)
        for inner, _ in model_graph.graphs()
        for call in inner.calls
        if call.body is None and call.name in shapes
    }


def _cost(
    inner: graph.Graph,
    call: graph.Call,
    read: Sequence[tuple],
    given: Sequence[tuple],
    batch_size: int,
) -> Cost:
    weights = getattr(call.operation, "weights", ())
    held = sum(bytes_of(w.shape, w.dtype) for w in weights)
    outputs = _tensors(inner, call.outputs, given)
    if any(None in shape for shape in [*read, *given]):
        return Cost(math.nan, held, math.nan)
    args, kwargs = call.fill(_tensors(inner, call.inputs, read))
    first: Any = outputs[0] if len(outputs) == 1 else outputs
    flops = flops_of(call.operation, first, args, kwargs)
    given_bytes = sum(bytes_of(h.shape, h.dtype) for h in outputs)
    return Cost(flops / batch_size, held, given_bytes / batch_size)


def _tensors(
    inner: graph.Graph, values: Sequence[int], shapes: Sequence[tuple]
) -> list[keras.KerasTensor]:
    specs = [inner.specs[value] for value in values]
    return [
        keras.KerasTensor(shape, spec.dtype)
        for spec, shape in zip(specs, shapes, strict=True)
    ]


def bytes_of(shape: Sequence[int], dtype: Any) -> int:
    """The bytes of a tensor."""
    name = keras.backend.standardize_dtype(dtype)
    # Names end in the number of bits, such as "int8", up to those of 8 bits.
    found = re.search(r"(?:float|int|complex)(\d+)", name)
    return math.prod(shape) * (int(found[1]) if found else 8) // 8
