"""Finds calls that give the same whatever they read."""

from typing import Any

import keras
import numpy as np

from fixinit.graph.calls import Call, Graph
from fixinit.graph.kinds import is_addition, is_unknown
from fixinit.graph.random_inputs import random_array
from fixinit.graph.trials import tried
from fixinit.layers import facts_of

# The size of axes that a model leaves open, the batch among them.
_SIZE = 2


def find_constants(graph: Graph) -> set[Call]:
    """The calls of a graph that give the same whatever they read.

    Embeddings of positions read tokens for their shape alone. Layers declare it in
    their `fixinit.layers.Facts`. One of which nothing is declared, and what it gives is
    added to something, is tried: on two batches, with random weights in the place of
    its own.

    Args:
        graph: `fixinit.graph.Graph`. It stays as it is.

    Returns:
        Set of `fixinit.graph.Call`s.
    """
    found = {call for call in graph.calls if facts_of(call.operation).constant}
    known: dict[int, bool] = {}
    for call in _added(graph):
        layer = id(call.operation)
        if layer not in known:
            known[layer] = _gives_the_same(graph, call)
        if known[layer]:
            found.add(call)
    return found


def _added(graph: Graph) -> list[Call]:
    """The calls of unknown layers whose outputs are added, in other shapes or not."""
    producers = graph.producers()
    found: dict[Call, None] = {}
    for addition in filter(is_addition, graph.calls):
        for value in addition.inputs:
            call = producers[value]
            while len(call.inputs) == 1 and not call.has_weights:
                if is_unknown(call.operation):
                    break
                call = producers[call.inputs[0]]
            if is_unknown(call.operation):
                found[call] = None
    return list(found)


def _gives_the_same(graph: Graph, call: Call) -> bool:
    """Whether an unknown layer gives the same for two random batches."""
    rng = np.random.default_rng(0)
    specs = [graph.specs[value] for value in call.inputs]
    weights = [(v, _drawn(v.shape, v.dtype, rng)) for v in call.operation.variables]

    def run() -> Any:
        inputs = [_drawn(spec.shape, spec.dtype, rng) for spec in specs]
        args, kwargs = call.fill(inputs)
        return call.operation(*args, **kwargs)

    first, second = (tried(run, weights) for _ in range(2))
    if first is None or second is None:
        return False
    return all(map(np.array_equal, first, second))


def _drawn(shape: Any, dtype: str, rng: np.random.Generator) -> Any:
    x = random_array([size or _SIZE for size in shape], dtype, rng)
    return keras.ops.convert_to_tensor(x, dtype)
