"""Hook that observes moments of activations and of the gradients towards them."""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from fixinit import backend, graph
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.activations import activation_range
from fixinit.diagnostics.report.columns import Columns
from fixinit.graph.kinds import output_facts
from fixinit.graph.probe import probed

# What is observed of an activation. Moments are those of the activation divided by
# its largest finite magnitude, "peak", so that squares neither overflow nor vanish;
# "infinite" is the share of infinities, which count as 0 in them.
FORWARD = (
    "peak",
    "mean_square",
    "variance",
    "never_active",
    "always_active",
    "dead",
    "correlation",
    "saturated",
    "infinite",
    "shortcut",
    "branch",
)
# What is observed of the gradient with respect to an activation.
BACKWARD = ("peak", "mean_square")
RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)


class Moments(graph.Hook):
    """Observes activations and the gradients with respect to them."""

    def __init__(
        self, model_graph: graph.Graph, names: set[str], columns: Columns
    ) -> None:
        self.names, self.outputs = names, set(model_graph.outputs)
        self.columns = columns
        # Shapes that calls read and give, known as soon as a run is traced.
        self.shapes: dict[str, tuple[list[tuple], list[tuple]]] = {}
        self.axes: dict[str, int] = {}
        self.bounds: dict[str, tuple[float, float] | None] = {}
        self.blocks: dict[str, graph.Block] = {}
        self.steps = read_by_recurrence(model_graph)
        for inner, _ in model_graph.graphs():
            for call in inner.calls:
                self.axes[call.name] = inner.channel_axes[call.outputs[0]]
                # Here, where nothing is traced and activations can be evaluated.
                self.bounds[call.name] = bounds_of(call)
            for block in graph.find_blocks(inner):
                self.blocks[block.merge.name] = block

    def enter(
        self, call: graph.Call, inputs: list[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        if self.columns.counts:
            self.shapes[call.name] = _shapes(inputs), []
        return inputs

    def leave(
        self, call: graph.Call, outputs: Sequence[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        if self.columns.counts:
            self.shapes[call.name][1].extend(_shapes(outputs))
        if control is None:
            return outputs
        moments = _compiled_gradient_moments(self.columns, call.name in self.steps)
        is_output = call.outputs[0] in self.outputs
        return [probed(outputs[0], control, moments, is_output), *outputs[1:]]

    def observation_shape(self, call: graph.Call) -> tuple[int, ...] | None:
        size = len(FORWARD) + self.columns.size
        return (size,) if call.name in self.names else None

    def observe(
        self, call: graph.Call, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Tensor:
        h = ops.stop_gradient(outputs[0])
        axis = self.axes[call.name] % max(1, len(h.shape))
        moments = _compiled_moments(
            axis, is_nonlinear(call), is_flat(call), self.bounds[call.name]
        )
        observed = moments(h)
        if call.name in self.blocks:
            terms = _terms(self.blocks[call.name], inputs, observed[0])
        else:
            terms = ops.full((2,), np.nan, "float32")
        observed = ops.concatenate([observed, terms])
        return _compiled_columns(self.columns)(observed, h)


def read_by_recurrence(model_graph: graph.Graph) -> dict[str, int]:
    """Dict from the names of calls that recurrent layers read to the count of steps.

    Calls inside of stacks, and those of any number of steps, are left out.
    """
    producers, found = model_graph.producers(), dict[str, int]()
    for call in model_graph.calls:
        if not isinstance(call.operation, RECURRENT):
            continue
        shape = model_graph.specs[call.inputs[0]].shape
        if len(shape) > 2 and shape[1]:
            found[producers[call.inputs[0]].name] = int(shape[1])
    return found


def is_nonlinear(call: graph.Call) -> bool:
    """Whether the outputs of a call are active or inactive, as those of a ReLU."""
    activation = getattr(call.operation, "activation", None)
    if activation is None:
        return graph.is_activation(call)
    return activation not in (keras.activations.linear, keras.activations.softmax)


def is_flat(call: graph.Call) -> bool:
    """Whether the outputs of a call can be dead: 0 without a slope, as of a ReLU."""
    return output_facts(call.operation).flat


def bounds_of(call: graph.Call) -> tuple[float, float] | None:
    """The range of an activation with a slope that vanishes at both ends, as tanh."""
    facts = output_facts(call.operation)
    if not facts.bounded or facts.flat or facts.compares_channels:
        return None
    held = getattr(call.operation, "activation", None)
    bounds = activation_range(call.operation if held is None else held)
    return bounds if np.isfinite(bounds).all() else None


@functools.cache
def _compiled_moments(
    channel_axis: int,
    rectifies: bool,
    is_flat: bool,
    bounds: tuple[float, float] | None,
) -> Callable:
    """Compiles the moments of an activation, once for all of one shape."""
    moments = functools.partial(_moments, channel_axis, rectifies, is_flat, bounds)
    return backend.compiled(moments)


def _terms(block: graph.Block, inputs: Sequence[Tensor], peak: Tensor) -> Tensor:
    """Mean squares of a block's addends: the shortcut, and the sum of branches."""
    scale = ops.where(peak > 0, peak, ops.ones_like(peak))
    inputs = [ops.cast(ops.stop_gradient(h), "float32") / scale for h in inputs]
    return ops.stack([ops.mean(ops.square(h)) for h in block.addends(inputs)])


def _moments(
    channel_axis: int,
    rectifies: bool,
    is_flat: bool,
    bounds: tuple[float, float] | None,
    h: Tensor,
) -> Tensor:
    """Computes the entries of `FORWARD` up to the infinities."""
    h = ops.cast(h, "float32")
    infinite, saturated = ops.isinf(h), ops.full((), np.nan, "float32")
    if bounds is not None:
        saturated = _share_at(h, *bounds)
    peak, h = _by_peak(ops.where(infinite, ops.zeros_like(h), h))
    if len(h.shape) < 2:
        # A number for every sample, or one for all of them, is one channel.
        h, channel_axis = ops.reshape(h, (-1, 1)), 1
    axes = tuple(i for i in range(len(h.shape)) if i != channel_axis)
    never = always = dead = ops.full((), np.nan, "float32")
    if is_flat:
        dead = ops.mean(1 - ops.max(ops.cast(h != 0, "float32"), axis=axes))
    if rectifies:
        active = ops.cast(h > 0, "float32")
        never = ops.mean(1 - ops.max(active, axis=axes))
        always = ops.mean(ops.min(active, axis=axes))
    variance = ops.mean(ops.var(h, axis=axes))
    mean_square, infinite = (
        ops.mean(ops.square(h)),
        ops.mean(ops.cast(infinite, "float32")),
    )
    units = [never, always, dead]
    return ops.stack(
        [peak, mean_square, variance, *units, _correlation(h), saturated, infinite]
    )


def _share_at(h: Tensor, low: float, high: float) -> Tensor:
    """Share of numbers within a hundredth of the range from its ends."""
    margin = 0.01 * (high - low)
    at = ops.logical_or(h < low + margin, h > high - margin)
    return ops.mean(ops.cast(at, "float32"))


def _correlation(h: Tensor) -> Tensor:
    """Mean cosine between the representations of two different inputs.

    Zeros have no direction: inputs that are represented by them are left out.
    """
    rows = ops.reshape(h, (h.shape[0], -1))
    norms = ops.sqrt(ops.sum(ops.square(rows), axis=1, keepdims=True))
    count = ops.sum(ops.cast(norms > 0, "float32"))
    rows = rows / ops.where(norms > 0, norms, ops.ones_like(norms))
    # The squared norm of the sum of unit vectors adds up all pairs.
    total = ops.sum(ops.square(ops.sum(rows, axis=0)))
    pairs = count * (count - 1)
    # 0 / 0 where there is no pair.
    return ops.where(pairs > 0, total - count, ops.zeros_like(total)) / pairs


def _by_peak(h: Tensor) -> tuple[Tensor, Tensor]:
    """The largest magnitude, and `h` divided by it."""
    peak = ops.max(ops.abs(h))
    return peak, h / ops.where(peak > 0, peak, ops.ones_like(peak))


@functools.cache
def _compiled_gradient_moments(columns: Columns, by_step: bool) -> Callable:
    """Compiles the moments of a gradient, and its peak in every step if asked for."""

    def moments(g: Tensor) -> Tensor:
        g = ops.cast(g, "float32")
        peak, scaled = _by_peak(g)
        found = ops.stack([peak, ops.mean(ops.square(scaled))])
        found = columns.appended(found, g)
        if by_step:
            axes = tuple(i for i in range(len(g.shape)) if i != 1)
            found = ops.concatenate([found, ops.max(ops.abs(g), axis=axes)])
        return found

    return backend.compiled(moments)


@functools.cache
def _compiled_columns(columns: Columns) -> Callable:
    """Compiles the appending of columns to what was observed of an activation."""
    if not columns.size:
        return lambda observed, h: observed
    return backend.compiled(
        lambda observed, h: columns.appended(observed, ops.cast(h, "float32"))
    )


def _shapes(tensors: Sequence[Tensor]) -> list[tuple]:
    return [tuple(tensor.shape) for tensor in tensors]
