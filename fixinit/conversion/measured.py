"""Measures layers that the converter does not know on random inputs."""

from typing import Any

import numpy as np
from keras import ops, tree

from fixinit.conversion import kinds
from fixinit.graph import Call, Graph, with_sizes
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.evaluation.random_outputs import RandomCalls, outputs
from fixinit.theory.input_sizes import known

# Of a mean square that is to be 1: within, a layer may stay as it is.
_ENOUGH = 3.0


def stream_square(graph: Graph, call: Call) -> float | None:
    """The mean square of what an unknown layer gives for random inputs.

    Signals are standard normal, as the converter wants them; integers are 0 and 1,
    which every vocabulary has. The layer is drawn anew for that, unless it is frozen.

    Args:
        graph: `fixinit.graph.Graph`.
        call: `fixinit.graph.Call` of the layer.

    Returns:
        float; `None` if it does not run on random inputs.
    """
    specs = [graph.specs[value] for value in call.inputs]
    try:
        shapes = [known(with_sizes(spec.shape)) for spec in specs]
        read = [Moments.inputs(shape or (1,)) for shape in shapes]
        first, *_ = outputs(RandomCalls(call, read, specs))
        return float(np.mean(np.square(first)))
    except Exception:  # whatever a layer of somebody else's raises
        return None


def factor_square(graph: Graph, call: Call) -> float:
    """By how much the constant factors behind a call multiply its mean square.

    As large language models do with their embeddings, by the root of the width.
    """
    consumers, square = graph.consumers(), 1.0
    while True:
        readers = consumers.get(call.outputs[0], [])
        if len(readers) != 1 or not kinds.is_factor(readers[0]):
            return square
        (call,) = readers
        spec = graph.specs[call.inputs[0]]
        shape = [size or 1 for size in with_sizes(spec.shape)]
        args, kwargs = call.fill([ops.ones(shape, spec.dtype)])
        given = tree.flatten(call.operation(*args, **kwargs))[0]
        square *= float(ops.mean(ops.square(ops.cast(given, "float32"))))


def is_off(square: float | None) -> bool:
    """Whether a mean square that is to be 1 is far from it, and can be put right."""
    if square is None or not 0 < square < np.inf:
        return False
    return not 1 / _ENOUGH <= square <= _ENOUGH


def makes_stream(survey: Any, call: Call) -> bool:
    """Whether residual blocks depend on the first output of a call outside of them."""
    if call in survey.places:
        return False
    ancestors = survey.graph.ancestors()
    made = 1 << call.outputs[0]
    return any(ancestors[block.input] & made for block in survey.blocks)
