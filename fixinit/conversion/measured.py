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


def stream_square(graph: Graph, call: Call, index: int = 0) -> float | None:
    """The mean square of an output that an unknown layer gives for random inputs.

    Signals are standard normal, as the converter wants them; integers are 0 and 1,
    which every vocabulary has. The layer is drawn anew for that, unless it is frozen.

    Args:
        graph: `fixinit.graph.Graph`.
        call: `fixinit.graph.Call` of the layer.
        index: int, that of the output.

    Returns:
        float; `None` if it does not run on random inputs.
    """
    specs = [graph.specs[value] for value in call.inputs]
    try:
        shapes = [known(with_sizes(spec.shape)) for spec in specs]
        read = [Moments.inputs(shape or (1,)) for shape in shapes]
        given = outputs(RandomCalls(call, read, specs))[index]
        return float(np.mean(np.square(given)))
    except Exception:  # whatever a layer of somebody else's raises
        return None


def factor_square(graph: Graph, call: Call, index: int = 0) -> float:
    """By how much the constant factors behind a call multiply its mean square.

    As large language models do with their embeddings, by the root of the width.
    """
    consumers, square, value = graph.consumers(), 1.0, call.outputs[index]
    while True:
        readers = consumers.get(value, [])
        if len(readers) != 1 or not kinds.is_factor(readers[0]):
            return square
        (call,) = readers
        (value,) = call.outputs
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


def stream_output(survey: Any, call: Call) -> int | None:
    """Which output of a call outside of residual blocks these depend on.

    The first of several; `None` if they depend on none.
    """
    if call in survey.places:
        return None
    ancestors = survey.graph.ancestors()
    made = 0
    for block in survey.blocks:
        made |= ancestors[block.input]
    return next((i for i, v in enumerate(call.outputs) if made >> v & 1), None)
