"""Statistics of activations and gradients by one forward and one backward pass."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras, backend, graph
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.activations import activation_range
from fixinit.diagnostics._shared.fit_loss import loss_function
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
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
_NOTHING = Columns()


@dataclasses.dataclass(frozen=True)
class Measured:
    """What `Measure` gives for a batch.

    Attributes:
        loss: float.
        forward: Dict from the names of calls to arrays whose last axis holds what
            `FORWARD` names, behind the axes of stacks around the call.
        backward: Likewise, with `BACKWARD`.
        gradients: One tensor for each of the model's trainable variables.
        outputs: One tensor for each of the model's outputs.
        asked_forward: Like `forward`, with what `Columns` observes of activations.
        asked_backward: Likewise, of the gradients with respect to them.
        shapes: Dict from the names of calls to the shapes that they read and give,
            empty where `Columns` counts nothing.
        scale: float. What `asked_backward` is observed of is so many times as large as
            the gradients are.
    """

    loss: float
    forward: dict[str, np.ndarray]
    backward: dict[str, np.ndarray]
    gradients: list[Tensor]
    outputs: list[Tensor]
    asked_forward: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    asked_backward: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    shapes: dict[str, Any] = dataclasses.field(default_factory=dict)
    scale: float = 1.0


class Measure:
    """Measures all activations and gradients of a model on a batch.

    Made once per model, it can be called again as weights change.

    Args:
        subject: `Subject`.
        loss: As `diagnose` takes it.
        training: bool. Whether layers run in training mode.
        columns: `Columns`, what else is measured.

    Attributes:
        model: `keras.Model`.
        graph: The model's `fixinit.graph.Graph`.
    """

    def __init__(
        self,
        subject: Subject,
        loss: Identifier | None = None,
        training: bool = True,
        columns: Columns = _NOTHING,
    ) -> None:
        self._subject, self.model = subject, subject.model
        self.graph = subject.graph
        self.training, self.columns = training, columns
        self._loss = loss
        self._probed = {
            call.name: depth
            for inner, depth in self.graph.graphs()
            for call in inner.calls
            if call.body is None
            and keras.backend.is_float_dtype(inner.specs[call.outputs[0]].dtype)
        }
        # Their gradients are what is measured on the way back.
        self._slots = [
            ops.zeros((*depth, len(BACKWARD) + columns.size), "float32")
            for depth in self._probed.values()
        ]
        self._hook = _Statistics(self.graph, set(self._probed), columns)
        self._evaluate = {
            has_targets: backend.value_and_gradients(
                functools.partial(self._value, has_targets), has_aux=True
            )
            for has_targets in (False, True)
        }

    def in_test_mode(self) -> "Measure":
        """The same measure with layers in test mode."""
        return Measure(self._subject, self._loss, training=False)

    def __call__(
        self, x: Sequence[np.ndarray], y: Any = None, sample_weight: Any = None
    ) -> Measured:
        """Measures on one batch.

        Args:
            x: List of arrays, one per input of the model.
            y: Targets, or `None`.
            sample_weight: What `sample_weights` gives.

        Returns:
            `Measured`.
        """
        scale = _loss_scale(self.model) if y is not None else 1.0
        while True:
            found = self._measured(x, y, sample_weight, scale)
            if scale == 1 or _is_finite(found):
                return found
            # `fit` makes no step then, and halves the scale until there is one.
            scale = max(1.0, scale / 16)

    def _measured(
        self, x: Sequence[np.ndarray], y: Any, sample_weight: Any, scale: float
    ) -> Measured:
        """Measures with the gradients of a loss that is so many times as large."""
        trainable = [v.value for v in self.model.trainable_variables]
        (_, (loss, forward, outputs)), gradients = self._evaluate[y is not None](
            [*trainable, *self._slots],
            [v.value for v in self.model.non_trainable_variables],
            [ops.convert_to_tensor(array) for array in x],
            *(_tensors(given) for given in (y, sample_weight)),
            ops.convert_to_tensor(scale, "float32"),
        )
        split = len(trainable)
        backward = dict(zip(self._probed, map(_numpy, gradients[split:]), strict=True))
        backward, asked_backward = _split(backward, len(BACKWARD))
        forward = {name: _numpy(values) for name, values in forward.items()}
        forward, asked_forward = _split(forward, len(FORWARD))
        gradients = gradients[:split]
        if scale != 1:
            gradients = [g / scale for g in gradients]
            for values in backward.values():
                values[..., BACKWARD.index("peak")] /= scale
        return Measured(
            float(ops.convert_to_numpy(loss)),
            forward,
            backward,
            gradients,
            outputs,
            asked_forward,
            asked_backward,
            self._hook.shapes,
            scale,
        )

    def _value(
        self,
        has_targets: bool,
        variables: Sequence[Tensor],
        non_trainable: Sequence[Tensor],
        x: Sequence[Tensor],
        y: Any,
        sample_weight: Any,
        scale: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, dict[str, Tensor], list[Tensor]]]:
        model = self.model
        own = [*model.trainable_variables, *model.non_trainable_variables]
        split = len(model.trainable_variables)
        controls = dict(zip(self._probed, variables[split:], strict=True))
        values = [*variables[:split], *non_trainable]
        added = None
        if has_targets and self._subject.hides_losses:
            with stateless(own, values):
                self._subject(x, self.training)
                added = model.losses
        with stateless(own, values):
            with _keras.inside_call(model):
                outputs, forward = graph.run(
                    self.graph, x, self._hook, controls, self.training
                )
            with _keras.with_losses(model, added):
                loss = loss_function(
                    self._subject,
                    self._loss,
                    outputs,
                    y if has_targets else None,
                    x,
                    sample_weight,
                    self.training,
                )
        return ops.cast(loss, "float32") * scale, (loss, forward, outputs)


class _Statistics(graph.Hook):
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
        moments = _compiled_gradient_moments(self.columns)
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
def _compiled_gradient_moments(columns: Columns) -> Callable:
    """Compiles the moments of a gradient."""

    def moments(g: Tensor) -> Tensor:
        g = ops.cast(g, "float32")
        peak, scaled = _by_peak(g)
        found = ops.stack([peak, ops.mean(ops.square(scaled))])
        return columns.appended(found, g)

    return backend.compiled(moments)


@functools.cache
def _compiled_columns(columns: Columns) -> Callable:
    """Compiles the appending of columns to what was observed of an activation."""
    if not columns.size:
        return lambda observed, h: observed
    return backend.compiled(
        lambda observed, h: columns.appended(observed, ops.cast(h, "float32"))
    )


def _split(
    observed: dict[str, np.ndarray], size: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is always observed, and what was asked for."""
    asked = {name: values[..., size:] for name, values in observed.items()}
    return {name: values[..., :size] for name, values in observed.items()}, asked


def _shapes(tensors: Sequence[Tensor]) -> list[tuple]:
    return [tuple(tensor.shape) for tensor in tensors]


def _loss_scale(model: keras.Model) -> float:
    """What `fit` multiplies the loss by, so that no gradient is 0 in float16."""
    if not model.compiled or model.optimizer is None:
        return 1.0
    scaled = model.optimizer.scale_loss(ops.ones((), "float32"))
    return float(ops.convert_to_numpy(scaled))


def _is_finite(measured: Measured) -> bool:
    """Whether all gradients with respect to weights are finite."""
    return all(np.isfinite(_numpy(g)).all() for g in measured.gradients)


def _tensors(arrays: Any) -> Any:
    """Makes tensors of a structure of arrays, or of `None`."""
    if arrays is None:
        return None
    return keras.tree.map_structure(ops.convert_to_tensor, arrays)


def _numpy(values: Tensor) -> np.ndarray:
    return ops.convert_to_numpy(values).astype("float64")
