"""Compares what the converter predicts of a network with one pass through it."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit.conversion import kinds
from fixinit.conversion.comparison import FACTOR, Comparison
from fixinit.conversion.edits import place_of
from fixinit.conversion.expectation import Expectation
from fixinit.conversion.trial import Ends, Statistics, measured
from fixinit.graph import Call, Graph, find_blocks, trace, with_sizes
from fixinit.graph.functional import functional_of
from fixinit.graph.random_inputs import random_array
from fixinit.graph.watching import told
from fixinit.theory import NoRuleError
from fixinit.theory.propagation import Assumption

# Numbers that a batch has at the input: a few images, or more samples of few features.
_NUMBERS = 2**17
_BATCH = (2, 32)
# For axes of unknown size, where the usual one is more than a table of positions has.
_SHORT = 8


def deviations(
    model: keras.Model, plan: Any, rewriter: Any, assume: Assumption, data: Any = None
) -> list[str]:
    """What one forward and one backward pass shows that the converter did not foresee.

    The model runs on standard normal inputs, or on `data`, in training mode. Mean
    squares of signals and of gradients that differ by more than a factor of 3 from the
    prediction, and by more than single draws do in layers of that width, are said.

    Args:
        model: The converted model.
        plan: `Plan`.
        rewriter: The `Rewriter` that has made the model.
        assume: As in `fixinit.theory.propagate`.
        data: Inputs of the model, or `None`.

    Returns:
        List of strings.
    """
    graph = trace(model)
    roles, reason = _roles(graph, plan, rewriter), ""
    is_open = any(None in graph.specs[value].shape[1:] for value in graph.inputs)
    for size in (None, _SHORT) if is_open else (None,):
        rng = np.random.default_rng(0)
        try:
            inputs = _inputs(model, graph, data, size, rng)
            ends = _ends(graph, roles, data is None, inputs, rng)
            sizes, read = measured(graph, inputs, ends)
        except Exception as error:  # whatever layers of somebody else's raise
            reason = reason or f"{type(error).__name__}: {told(error)}"
            continue
        expected = _expected(graph, ends, data is None, inputs, read, assume)
        if expected is None:
            return []  # Which has been said.
        stream = _stream(graph, roles)
        return [
            *_data_sizes(read),
            *Comparison(graph, stream, expected, sizes).said(),
        ]
    return [
        "The predicted sizes of signals could not be compared with a pass through the "
        f"network: {reason} Pass data=..., a batch of inputs."
    ]


def _expected(
    graph: Graph,
    ends: Ends,
    draws: bool,
    inputs: list[np.ndarray],
    read: dict[Call, Statistics],
    assume: Assumption,
) -> Expectation | None:
    """What is predicted for the inputs; `None` if nothing can be."""
    if draws:
        given = [Statistics() for _ in inputs]
        read = {call: Statistics() for call in read}
    else:
        given = [Statistics.of(x) for x in inputs]
    shapes = [x.shape for x in inputs]
    try:
        return Expectation(graph, ends, shapes, given, read, assume)
    except NoRuleError:
        return None


def _inputs(
    model: keras.Model,
    graph: Graph,
    data: Any,
    size: int | None,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """A batch for each input of the model, drawn or taken from the data.

    Axes of unknown size get a `size`, by default that of `fixinit.graph.with_sizes`.
    """
    shapes = [graph.specs[value].shape for value in graph.inputs]
    shapes = [(s[0], *(n or size for n in s[1:])) for s in shapes]
    shapes = [with_sizes(shape) for shape in shapes]
    numbers = sum(math.prod(n or 1 for n in shape[1:]) for shape in shapes)
    batch = int(np.clip(_NUMBERS // numbers, *_BATCH))
    if data is not None:
        return [x[:batch] for x in _arrays(model, data)]
    return [
        _drawn(graph, value, (shape[0] or batch, *shape[1:]), rng)
        for value, shape in zip(graph.inputs, shapes, strict=True)
    ]


def _arrays(model: keras.Model, data: Any) -> list[np.ndarray]:
    """The arrays of a batch, in the order of the model's inputs."""
    functional = functional_of(model)
    names = [tensor.name for tensor in functional.inputs]
    if isinstance(data, dict) and set(names) <= data.keys():
        found = [data[name] for name in names]
    else:
        found = tree.flatten(data)
    return [np.asarray(ops.convert_to_numpy(x)) for x in found]


def _drawn(
    graph: Graph, value: int, shape: tuple[Any, ...], rng: np.random.Generator
) -> np.ndarray:
    """Standard normal numbers, or indices that all readers have."""
    dtype = graph.specs[value].dtype
    tables = [
        call.operation.input_dim
        for call in graph.calls
        if value in call.inputs and isinstance(call.operation, keras.layers.Embedding)
    ]
    if dtype == "string":
        raise TypeError("Strings are not drawn at random.")
    if tables:
        return rng.integers(0, min(tables), shape).astype(dtype)
    return random_array(shape, dtype, rng)


def _roles(graph: Graph, plan: Any, rewriter: Any) -> dict[Call, str]:
    """The roles of the weight layers that the converter has drawn, by new calls."""
    roles = {
        rewriter.own_place(kernel.weight.call): kernel.weight.role
        for kernel in plan.kernels
    }
    return {c: roles[place_of(c)] for c in graph.calls if place_of(c) in roles}


def _ends(
    graph: Graph,
    roles: dict[Call, str],
    draws: bool,
    inputs: list[np.ndarray],
    rng: np.random.Generator,
) -> Ends:
    """Where the pass begins, and where gradients start.

    Data is standardized for the stem, whatever is in front of it. Behind a head of
    zeros there is no gradient, so that one starts at what it reads.
    """
    stems, starts = {}, set(graph.outputs)
    for call, role in roles.items():
        if role == "stem" and kinds.reads_signals(call.operation):
            sizes = with_sizes(graph.specs[call.inputs[0]].shape)[1:]
            shape = [len(inputs[0]), *(n or 1 for n in sizes)]
            stems[call] = rng.standard_normal(shape) if draws else None
        if role == "head" and call.weight is not None and not _is_drawn(call.weight):
            starts.add(call.inputs[0])
    return Ends(stems, starts)


def _stream(graph: Graph, roles: dict[Call, str]) -> set[Call]:
    """The calls whose sizes are those of the network.

    The ends of blocks, the weight layers outside of blocks and what gives the outputs.
    """
    producers = graph.producers()
    ends = [block.output for block in find_blocks(graph)] + graph.outputs
    stream = {producers[value] for value in ends}
    outside = ("stem", "trunk", "projection")
    return stream | {call for call, role in roles.items() if role in outside}


def _is_drawn(kernel: Any) -> bool:
    return bool(np.any(ops.convert_to_numpy(kernel)))


def _data_sizes(read: dict[Call, Statistics]) -> Iterator[str]:
    """Data of another size than kernels are drawn for."""
    for call, statistics in read.items():
        square = statistics.mean_square
        if not 1 / FACTOR <= square <= FACTOR:
            yield (
                f"Kernels are drawn for standardized data. `{call.name}` reads numbers "
                f"of mean square {square:.3g} of the data given. Standardize it."
            )
            return
