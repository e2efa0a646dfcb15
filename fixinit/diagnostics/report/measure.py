"""Statistics of activations and gradients by one forward and one backward pass."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras, backend, graph
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.fit_loss import loss_function
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics.report.columns import Columns
from fixinit.diagnostics.report.moments import BACKWARD, FORWARD, Moments

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
        by_step: Dict from the names of calls that recurrent layers read to arrays, the
            largest magnitude of the gradient in every step, `scale` times as large.
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
    by_step: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
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
        self._hook = Moments(self.graph, set(self._probed), columns)
        # Their gradients are what is measured on the way back.
        size, steps = len(BACKWARD) + columns.size, self._hook.steps
        self._slots = [
            ops.zeros((*depth, size + steps.get(name, 0)), "float32")
            for name, depth in self._probed.items()
        ]
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
        backward, by_step = _split(backward, len(BACKWARD) + self.columns.size)
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
            {name: by_step[name] for name in self._hook.steps if name in by_step},
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


def _split(
    observed: dict[str, np.ndarray], size: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is always observed, and what was asked for."""
    asked = {name: values[..., size:] for name, values in observed.items()}
    return {name: values[..., :size] for name, values in observed.items()}, asked


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
