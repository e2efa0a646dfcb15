"""One pass through a converted model in test mode, which changes nothing."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit.conversion import batches
from fixinit.graph import Call, Graph, Hook, run


class StemPass(Hook):
    """A pass in which stems read standard normal numbers, whatever is before them.

    Subclasses measure in `leave`, or in an `enter` that calls this one first.

    Args:
        model: The converted model.
        graph: Its `fixinit.graph.Graph`.
        roles: Dict from the calls of weight layers to their roles.
    """

    def __init__(
        self, model: keras.Model, graph: Graph, roles: Mapping[Call, str]
    ) -> None:
        self.model, self.graph, self.roles = model, graph, roles
        self._stems: dict[Call, np.ndarray] = {}

    def run(self, size: int | None, data: Any = None, **limits: int) -> bool:
        """Runs the model; returns whether it takes the inputs.

        Args:
            size, data: As in `batches.inputs`.
            **limits: `most` and `numbers`, likewise.
        """
        rng = np.random.default_rng(0)
        try:
            inputs = batches.inputs(self.model, self.graph, size, rng, data, **limits)
            self._stems = batches.stems(self.graph, self.roles, len(inputs[0]), rng)
            x = [ops.convert_to_tensor(array) for array in inputs]
            with backend.kept_random_state(), keras.StatelessScope():
                run(self.graph, x, self)
        except Exception:  # whatever layers of somebody else's raise
            return False
        return True

    def enter(self, call: Call, inputs: list[Any], control: Any) -> list[Any]:
        if call in self._stems:
            first = ops.convert_to_tensor(self._stems[call])
            return [ops.cast(first, inputs[0].dtype), *inputs[1:]]
        return inputs

    def leave(self, call: Call, outputs: list[Any], control: Any) -> list[Any]:
        return [ops.stop_gradient(y) for y in outputs]
