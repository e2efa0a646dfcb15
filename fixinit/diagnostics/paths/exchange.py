"""Values of a model's variables after residual blocks have changed places."""

import collections
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from fixinit import graph
from fixinit._typing import Tensor
from fixinit.diagnostics.paths.chain import Chain

# A variable, and the row of it that belongs to a block: one index per stack.
Slot = tuple[keras.Variable, tuple[int, ...]]


class Exchange:
    """Exchange of blocks: values of a model's variables for any order of its blocks.

    Args:
        model: `keras.Model`.
        model_graph: Its `fixinit.graph.Graph`.
        chain: Its `fixinit.diagnostics.paths.chain.Chain`.

    Attributes:
        groups: List of lists of ints: blocks whose variables have the same shapes.
    """

    def __init__(
        self, model: keras.Model, model_graph: graph.Graph, chain: Chain
    ) -> None:
        self._model, self._names = model, chain.names
        slots = _slots(model_graph, chain, {id(v): v for v in model.variables})
        # For every block, where its variables are: `(variable, row of stacks)`.
        self._slots = [slots[block] for block in range(len(chain))]
        groups: dict[tuple, list[int]] = {}
        for block, own in enumerate(self._slots):
            shapes = tuple(tuple(v.shape[len(row) :]) for v, row in own)
            groups.setdefault(shapes, []).append(block)
        self.groups = list(groups.values())

    def values(self, order: Sequence[int]) -> list[Tensor]:
        """Returns the values of `model.variables` where block `order[i]` is in place i.

        Raises:
            ValueError: If a block that moves is called in two places.
        """
        self._check_not_shared(order)
        moved: dict[int, np.ndarray] = {}
        for place, block in enumerate(order):
            if place != block:
                pairs = zip(self._slots[place], self._slots[block], strict=True)
                for (variable, row), (source, source_row) in pairs:
                    value = ops.convert_to_numpy(source.value)[source_row]
                    new = moved.setdefault(
                        id(variable), np.array(ops.convert_to_numpy(variable.value))
                    )
                    new[row] = value
        return [
            ops.convert_to_tensor(moved[id(v)]) if id(v) in moved else v.value
            for v in self._model.variables
        ]

    def _check_not_shared(self, order: Sequence[int]) -> None:
        keys = [[(id(v), row) for v, row in slots] for slots in self._slots]
        uses = collections.Counter(key for slots in keys for key in set(slots))
        for place, block in enumerate(order):
            if place != block and any(uses[key] > 1 for key in keys[block]):
                raise ValueError(
                    f"Block `{self._names[block]}` cannot change places: it shares "
                    "its weights with another block, as its layers are called more "
                    "than once. Permute blocks with weights of their own."
                )


def _slots(
    model_graph: graph.Graph, chain: Chain, known: Mapping[int, keras.Variable]
) -> dict[int, list[Slot]]:
    """Maps blocks to lists of `(variable, row)`, in stacks and outside.

    `known` holds the model's variable for the id of every layer's: in a stack, that
    in which the variable of one block is a row.
    """
    found: dict[int, list[Slot]] = {}
    for call in model_graph.calls:
        if call.name in chain.merges:
            block, indices = chain.merges[call.name]
            variables = [
                known[id(variable)]
                for inner in block.calls
                for variable in getattr(inner.operation, "variables", ())
            ]
            for row, index in np.ndenumerate(indices):
                found[int(index)] = [(v, row) for v in variables]
        if call.body is not None:
            stack = call.operation
            stacked = [getattr(v, "state", v) for v in stack.stacked]
            pairs = zip(stack.block.variables, stacked, strict=True)
            inner = {id(v): known[id(rows)] for v, rows in pairs}
            found |= _slots(call.body, chain, inner)
    return found
