"""One forward and one backward pass of a converted model, which changes nothing."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.graph import Call, Graph, Hook, run
from fixinit.graph.probe import probed


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean, variance and correlations of what a network or its stem reads.

    Attributes:
        mean: float.
        variance: float.
        between: float, the correlation of the same position of two inputs.
        space: float, the correlation of two positions of one input.
    """

    mean: float = 0.0
    variance: float = 1.0
    between: float = 0.0
    space: float = 0.0

    @classmethod
    def of(cls, array: np.ndarray) -> "Statistics":
        """Those of a batch `(batch, ..., channels)`, or of one number a sample."""
        channels = array.shape[-1] if array.ndim > 1 else 1
        rows = array.astype("float64").reshape(len(array), -1, channels)
        mean, variance = rows.mean(), rows.var()
        if not 0 < variance < np.inf:
            return cls(float(mean), float(variance))
        rows = (rows - mean) / np.sqrt(variance)
        return cls(
            float(mean), float(variance), _correlation(rows, 0), _correlation(rows, 1)
        )

    @property
    def mean_square(self) -> float:
        """The uncentred second moment."""
        return self.mean**2 + self.variance


def _correlation(rows: np.ndarray, axis: int) -> float:
    """The mean product of two different elements along an axis, in [0, 1]."""
    count = rows.shape[axis]
    if count < 2:
        return 0.0
    total = np.mean(rows.sum(axis) ** 2) - count
    return float(np.clip(total / (count * (count - 1)), 0, 1))


@dataclasses.dataclass
class Sizes:
    """Mean squares of what calls give, and of the gradients with respect to it.

    Attributes:
        forward, backward: Dicts from the names of calls to floats.
    """

    forward: dict[str, float] = dataclasses.field(default_factory=dict)
    backward: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ends:
    """Where a pass begins and where gradients start.

    Attributes:
        stems: Dict from calls to what they read in the place of what is in front of
            them: arrays, or `None` for what is there.
        gradients: Set of values. Gradients of mean square 1 start at each.
    """

    stems: dict[Call, Any]
    gradients: set[int]


def measured(graph: Graph, inputs: Sequence[Any], ends: Ends) -> tuple[Sizes, dict]:
    """Measures mean squares of signals and gradients on one batch, in training mode.

    Weights, moving statistics and the states of random numbers stay as they are.
    Gradients start as random signs.

    Args:
        graph: `fixinit.graph.Graph` of the model.
        inputs: List of arrays, one for each of its inputs.
        ends: `Ends`.

    Returns:
        `(sizes, read)`: `Sizes`, and a dict from the stems to the `Statistics` of what
        they read.
    """
    is_float = [keras.backend.is_float_dtype(spec.dtype) for spec in graph.specs]
    names = [call.name for call in graph.calls if is_float[call.outputs[0]]]
    # What is equal for all samples has the gradients of all.
    by_sample = _with_batch(graph, len(inputs[0]))
    slotted = [name for name in names if name in by_sample]
    slots = [ops.zeros((), "float32") for _ in slotted]
    tap = _Tap(graph, set(names), ends)

    def total(slots: Sequence[Tensor], x: Sequence[Tensor]) -> Any:
        tap.start()
        controls = dict(zip(slotted, slots, strict=True))
        _, found = run(graph, x, tap, controls, training=True)
        return tap.total, (found, tap.read)

    evaluate = backend.value_and_gradients(total, has_aux=True, compiles=False)
    x = [ops.convert_to_tensor(array) for array in inputs]
    with (
        backend.kept_random_state(),
        keras.StatelessScope(collect_losses=True),
    ):
        (_, (found, read)), gradients = evaluate(slots, x)
    sizes = Sizes(
        {name: _number(square) for name, square in found.items()},
        {n: _number(square) for n, square in zip(slotted, gradients, strict=True)},
    )
    calls = {call.name: call for call in ends.stems}
    return sizes, {calls[name]: Statistics.of(_array(x)) for name, x in read.items()}


def _with_batch(graph: Graph, batch: int) -> set[str]:
    """The names of the calls that give something for each sample."""
    shapes = {call.name: graph.specs[call.outputs[0]].shape for call in graph.calls}
    return {name for name, shape in shapes.items() if shape[:1] in ((None,), (batch,))}


class _Tap(Hook):
    """Measures what calls give, and adds up what gradients start from."""

    def __init__(self, graph: Graph, names: set[str], ends: Ends) -> None:
        self.graph, self.names, self.ends = graph, names, ends
        # Values inside of a stack have numbers of their own.
        self._outer = set(graph.calls)
        self.start()

    def start(self) -> None:
        """Makes ready for a run."""
        self.total: Any = 0.0
        self.read: dict[str, Tensor] = {}

    def enter(
        self, call: Call, inputs: list[Tensor], control: Tensor | None
    ) -> list[Tensor]:
        if call in self.ends.stems:
            array = self.ends.stems[call]
            if array is not None:
                first = ops.cast(ops.convert_to_tensor(array), inputs[0].dtype)
                inputs = [first, *inputs[1:]]
            self.read[call.name] = ops.stop_gradient(inputs[0])
        return inputs

    def leave(
        self, call: Call, outputs: list[Tensor], control: Tensor | None
    ) -> list[Tensor]:
        if control is not None:
            outputs = [probed(outputs[0], control, _mean_square), *outputs[1:]]
        if call not in self._outer:
            return outputs
        for value, y in zip(call.outputs, outputs, strict=True):
            if value in self.ends.gradients and keras.backend.is_float_dtype(y.dtype):
                signs = np.random.default_rng(value).choice([-1.0, 1.0], tuple(y.shape))
                signs = ops.convert_to_tensor(signs, "float32")
                self.total = self.total + ops.sum(ops.cast(y, "float32") * signs)
        return outputs

    def observation_shape(self, call: Call) -> tuple[int, ...] | None:
        return () if call.name in self.names else None

    def observe(
        self, call: Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Tensor:
        return _mean_square(ops.stop_gradient(outputs[0]))


def _mean_square(x: Tensor) -> Tensor:
    return ops.mean(ops.square(ops.cast(x, "float32")))


def _number(tensor: Tensor) -> float:
    return float(ops.convert_to_numpy(tensor))


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
