"""Finds scales of the user's own that start what they scale near zero."""

from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit.conversion import kinds
from fixinit.graph import Call, Graph, find_gates, with_sizes
from fixinit.graph.trials import tried

# LayerScale starts between 1e-6 and 0.1 (Touvron et al., 2021).
_LARGEST = 0.1
_BATCH = 2
_TOLERANCE = 1e-2  # of a product in half precision


def own_scales(graph: Graph) -> set[int]:
    """Ids of layers that multiply a signal by small trainable numbers, or zeros.

    Nothing is declared about them. A zero of a scheme in front of such a layer or
    behind it would leave both without gradients. On the stream, as in an architecture
    whose blocks have the layer and not all a shortcut, normalization made up for it.

    Args:
        graph: `fixinit.graph.Graph`.
    """
    found = set()
    for inner, _ in graph.graphs():
        if not any(kinds.is_unknown(call.operation) for call in inner.calls):
            continue
        gates = find_gates(inner)
        for call in inner.calls:
            if call not in gates and _is_small_scale(call, inner):
                found.add(id(call.operation))
    return found


def _is_small_scale(call: Call, graph: Graph) -> bool:
    layer: Any = call.operation
    if not kinds.is_unknown(layer) or len(call.inputs) != 1 or call.body is not None:
        return False
    if not layer.trainable_variables or len(call.outputs) != 1:
        return False
    spec = graph.specs[call.inputs[0]]
    if "float" not in spec.dtype:
        return False
    rng = np.random.default_rng(0)
    shape = (_BATCH, *(n or 1 for n in with_sizes(spec.shape)[1:]))
    inputs = [rng.uniform(1, 2, shape), rng.uniform(-2, -1, shape)]
    drawn = [(v, rng.uniform(1, 2, v.shape)) for v in layer.trainable_variables]
    now, others = (_outputs(layer, inputs, values) for values in ((), drawn))
    if now is None or others is None:
        return False
    small, (first, second) = now[0], others
    if not first.shape == second.shape == shape:
        return False
    # One factor for both inputs, and for every element by itself.
    products = first * inputs[1], second * inputs[0]
    is_scale = bool(np.any(first)) and np.allclose(*products, rtol=_TOLERANCE)
    most = (1 + _TOLERANCE) * _LARGEST * np.abs(inputs[0])
    return is_scale and bool(np.all(np.abs(small) <= most))


def _outputs(
    layer: keras.layers.Layer, inputs: list[np.ndarray], values: Any
) -> list[np.ndarray] | None:
    """What a layer gives with other values of its variables."""
    tensors = [ops.cast(ops.convert_to_tensor(x), "float32") for x in inputs]
    given = tried(lambda: [layer(x) for x in tensors], values)
    if given is None or len(given) != len(inputs):
        return None
    return [np.asarray(y, "float64") for y in given]
