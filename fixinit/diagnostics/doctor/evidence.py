"""Evidence: everything that the rules of the doctor see of a training program."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit.diagnostics._shared.trial_optimizer import unscaled
from fixinit.diagnostics.doctor.heads import Head
from fixinit.diagnostics.doctor.program import Program
from fixinit.diagnostics.doctor.trial import Trial
from fixinit.diagnostics.report.blocks import block_places
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.measure import Measured
from fixinit.diagnostics.report.rows import BlockRow, LayerRow
from fixinit.graph import Call, Graph
from fixinit.layers import facts_of

# Numbers that are squared at once.
_PART = 2**20


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that the rules of the doctor see.

    Attributes:
        program: `Program`, on all samples that were given.
        heads: List of `Head`, one for each output.
        diagnosis: `Diagnosis` of the first batch, without findings.
        measured: `Measured`, what it was made of.
        optimizer: The Keras optimizer that trains the model, or `None`.
        trial: `Trial`, some steps of it, or `None`.
    """

    program: Program
    heads: Sequence[Head]
    diagnosis: Diagnosis
    measured: Measured
    optimizer: keras.optimizers.Optimizer | None = None
    trial: Trial | None = None

    @property
    def x(self) -> Sequence[np.ndarray]:
        """All samples that were given, one array for each input."""
        return self.program.x

    @property
    def model(self) -> keras.Model:
        """The model."""
        return self.program.subject.model

    @property
    def graph(self) -> Graph:
        """Its graph, with layers of classes of one's own opened."""
        return self.program.subject.graph

    @property
    def stepping(self) -> keras.optimizers.Optimizer | None:
        """The optimizer that makes the steps; another one may scale its loss."""
        return None if self.optimizer is None else unscaled(self.optimizer)

    @functools.cached_property
    def rows(self) -> dict[str, LayerRow]:
        """Dict from names of calls to their rows."""
        return {row.name: row for row in self.diagnosis.layers}

    @functools.cached_property
    def producers(self) -> dict[int, Call]:
        """Dict from values to the calls that give them."""
        return self.graph.producers()

    @functools.cached_property
    def readers(self) -> dict[int, list[Call]]:
        """Dict from values to the calls that read them."""
        return self.graph.consumers()

    @functools.cached_property
    def weights(self) -> list[Call]:
        """The calls that multiply by a matrix, outside of stacks, in order."""
        return [call for call in self.graph.calls if call.has_weights]

    @functools.cached_property
    def gradients(self) -> dict[int, np.ndarray]:
        """Dict from the id of a trainable variable to its gradient."""
        pairs = zip(
            self.model.trainable_variables, self.measured.gradients, strict=True
        )
        return {id(v): ops.convert_to_numpy(ops.cast(g, "float32")) for v, g in pairs}

    @functools.cached_property
    def unnormalized_steps(self) -> list[LayerRow | BlockRow]:
        """Rows by which depth is counted, without those that all readers normalize.

        The blocks; without blocks, the weight layers one behind the other.
        """
        blocks, path = self.diagnosis.blocks, self.diagnosis.weight_path
        if not blocks:
            return [
                row
                for row in path
                if row.name in self.calls
                and not self.normalized_behind(self.calls[row.name])
            ]
        places = block_places(self.graph)
        calls = [place.call for place in places for _ in place.names]
        return [
            row
            for row, call in zip(blocks, calls, strict=True)
            if not self.normalized_behind(call)
        ]

    @functools.cached_property
    def calls(self) -> dict[str, Call]:
        """Dict from the names of the calls outside of stacks to them."""
        return {call.name: call for call in self.graph.calls}

    def row_of(self, value: int) -> LayerRow | None:
        """The row of what gives a value, `None` inside of a stack or of integers."""
        return self.rows.get(self.producers[value].name)

    def is_layer(self, call: Call) -> bool:
        """Whether `model.get_layer(call.name)` is the layer of a call."""
        layers = {id(layer) for layer in self.model.layers}
        return id(call.operation) in layers

    def normalized_behind(self, call: Call) -> bool:
        """Whether all that reads a call normalizes it, elementwise steps aside."""
        readers = self.readers.get(call.outputs[0], [])
        if not readers:
            return False
        return all(
            facts_of(reader.operation).has_statistics
            or _passes(reader)
            and self.normalized_behind(reader)
            for reader in readers
        )


def _passes(call: Call) -> bool:
    facts = facts_of(call.operation)
    return facts.rearranges or facts.passes or facts.scales_branch


def kernel_of(call: Call) -> np.ndarray | None:
    """The kernel of a weight layer as an array, `None` without one."""
    kernel = call.weight
    if kernel is None:
        return None
    return ops.convert_to_numpy(ops.cast(kernel, "float32"))


def peak_of(values: np.ndarray) -> float:
    """The largest magnitude, without a copy of the values; 0 for nothing."""
    if not values.size:
        return 0.0
    return float(np.maximum(float(values.max()), -float(values.min())))


def rms(values: Any) -> float:
    """Root of the mean square, without overflow; 0 for nothing.

    Part by part: data may fill half of the memory.
    """
    values = np.asarray(values).reshape(-1)
    peak, total = peak_of(values), 0.0
    if not 0 < peak < math.inf:
        return peak
    for start in range(0, len(values), _PART):
        part = values[start : start + _PART].astype("float64") / peak
        total += float(part @ part)
    return peak * math.sqrt(total / len(values))


def differs(array: np.ndarray) -> bool:
    """Whether the samples of an array are not all the same."""
    return bool((array != array[:1]).any())


def are_as_made(mean: keras.Variable, variance: keras.Variable) -> bool:
    """Whether statistics of a layer are those it is made with, 0 and 1."""
    means, variances = (
        ops.convert_to_numpy(ops.cast(v, "float32")) for v in (mean, variance)
    )
    return not means.any() and bool((variances == 1).all())
