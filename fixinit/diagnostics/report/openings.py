"""Branches that start at zero and get no gradient that could open them."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np
from keras import ops

from fixinit import graph
from fixinit._typing import Tensor
from fixinit.diagnostics.report.blocks import BlockPlace, block_places
from fixinit.diagnostics.report.measure import Measured
from fixinit.diagnostics.report.moments import BACKWARD, FORWARD

# Of what one scale of a branch as large as its shortcut gets. The scalar of a branch
# gets less than that by chance in one batch of 50,000.
_NOTHING = 2e-5

# From the id of a variable to its gradient, as an array.
_Gradients = Mapping[int, np.ndarray]


def closed_blocks(
    model: keras.Model,
    model_graph: graph.Graph,
    measured: Measured,
    batch_size: int,
) -> list[str]:
    """Names of the blocks whose branches training does not open.

    Their branches give zero, and the gradients of all variables of the branch are zero
    too, though the gradient at the block's output is not. Two zeros stand one behind
    the other: the gradient of each is a multiple of the other.

    Args:
        model: `keras.Model`.
        model_graph: Its `fixinit.graph.Graph`.
        measured: What `Measure` gives.
        batch_size: int.
    """
    candidates = [
        (place, index)
        for place in block_places(model_graph)
        for index in _shut(place, measured)
    ]
    if not candidates:
        return []
    gradients = {
        id(variable): _numpy(gradient)
        for variable, gradient in zip(
            model.trainable_variables, measured.gradients, strict=True
        )
    }
    return [
        place.names[index]
        for place, index in candidates
        if _gets_nothing(place, index, gradients, measured, batch_size)
    ]


def _shut(place: BlockPlace, measured: Measured) -> Iterator[int]:
    """The indices of the blocks at a place whose branches give zero."""
    if place.block is None:
        return
    observed = measured.forward[place.block.merge.name].reshape(-1, len(FORWARD))
    shut = observed[:, FORWARD.index("branch")] == 0
    carries = observed[:, FORWARD.index("shortcut")] > 0
    yield from np.flatnonzero(shut & carries).tolist()


def _gets_nothing(
    place: BlockPlace,
    index: int,
    gradients: _Gradients,
    measured: Measured,
    batch_size: int,
) -> bool:
    """Whether the variables of a branch get no gradient to speak of."""
    held = list(_own_gradients(place, index, gradients))
    if not held:
        return False
    assert place.block is not None
    merge = place.block.merge
    forward = measured.forward[merge.name].reshape(-1, len(FORWARD))[index]
    backward = measured.backward[merge.name].reshape(-1, len(BACKWARD))[index]
    observed = dict(zip(FORWARD, forward, strict=True))
    peak, square = backward
    _, *sizes = place.graph.specs[merge.outputs[0]].shape
    count = batch_size * np.prod([n or 1 for n in sizes])
    shortcut = observed["peak"] * np.sqrt(observed["shortcut"])
    scale = peak * np.sqrt(square * count) * shortcut
    norm = np.sqrt(sum(float(np.sum(g.astype("float64") ** 2)) for g in held))
    return bool(0 < scale < np.inf and norm < _NOTHING * scale)


def _own_gradients(
    place: BlockPlace, index: int, gradients: _Gradients
) -> Iterator[np.ndarray]:
    """The gradients of the variables that a branch alone holds."""
    block, owners = place.block, {}
    assert block is not None
    branch = {call for i in block.branches for call in block.paths[i]}
    branch -= set(block.paths[block.shortcut])
    if place.stack is not None:
        stack = place.stack.operation
        pairs = zip(stack.block.variables, stack.stacked_variables, strict=True)
        owners = {id(template): id(stacked) for template, stacked in pairs}
    others = {
        id(variable)
        for call in place.graph.calls
        if call not in branch
        for variable in getattr(call.operation, "trainable_variables", ())
    }
    for call in branch:
        for variable in getattr(call.operation, "trainable_variables", ()):
            key = owners.get(id(variable), id(variable))
            if key in gradients and id(variable) not in others:
                gradient = gradients[key]
                yield gradient if place.stack is None else gradient[index]


def _numpy(tensor: Tensor) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))
