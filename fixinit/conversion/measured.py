"""Measures layers that the converter does not know on random inputs."""

from typing import Any

import numpy as np
from keras import ops, tree

from fixinit.conversion.copies import copied
from fixinit.graph import Call, Graph, with_sizes
from fixinit.graph.random_inputs import random_array

_BATCH = 8
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
    rng = np.random.default_rng(0)
    try:
        read = [_random(graph.specs[value], rng) for value in call.inputs]
        args, kwargs = call.fill(read)
        layer = call.operation
        layer = copied(layer) if layer.trainable else layer
        given = tree.flatten(layer(*args, **{**kwargs, "training": False}))[0]
        square = ops.mean(ops.square(ops.cast(given, "float32")))
        return float(ops.convert_to_numpy(square))
    except Exception:  # whatever a layer of somebody else's raises
        return None


def is_off(square: float | None) -> bool:
    """Whether a mean square that is to be 1 is far from it, and can be put right."""
    if square is None or not 0 < square < np.inf:
        return False
    return not 1 / _ENOUGH <= square <= _ENOUGH


def makes_stream(survey: Any, call: Call) -> bool:
    """Whether residual blocks depend on a call outside of them."""
    if call in survey.places:
        return False
    ancestors = survey.graph.ancestors()
    made = sum(1 << value for value in call.outputs)
    return any(ancestors[block.input] & made for block in survey.blocks)


def _random(spec: Any, rng: np.random.Generator) -> Any:
    shape = [size or _BATCH for size in with_sizes(spec.shape)]
    return ops.convert_to_tensor(random_array(shape, spec.dtype, rng), spec.dtype)
