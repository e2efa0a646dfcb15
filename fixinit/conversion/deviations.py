"""Compares what the converter predicts of a network with one pass through it."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit.conversion import batches
from fixinit.conversion.comparison import FACTOR, Comparison
from fixinit.conversion.expectation import Expectation
from fixinit.conversion.trial import Ends, Statistics, measured
from fixinit.graph import Call, Graph, find_blocks, trace
from fixinit.graph.watching import told
from fixinit.theory import NoRuleError
from fixinit.theory.propagation import Assumption


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
    kernels, reason = batches.kernels_of(graph, plan, rewriter), ""
    roles = {call: kernel.weight.role for call, kernel in kernels.items()}
    for size in batches.open_sizes(graph):
        rng = np.random.default_rng(0)
        try:
            inputs = batches.inputs(model, graph, size, rng, data)
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
    stems = batches.stems(graph, roles, len(inputs[0]), rng)
    starts = set(graph.outputs)
    for call, role in roles.items():
        if role == "head" and call.weight is not None and not _is_drawn(call.weight):
            starts.add(call.inputs[0])
    return Ends(stems if draws else dict.fromkeys(stems), starts)


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
