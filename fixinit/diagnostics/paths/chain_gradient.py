"""Loss gradient at the first block, with weights for every branch and shortcut."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras, backend, graph
from fixinit._typing import ArrayLike, Identifier, Tensor
from fixinit.diagnostics._shared.fit_loss import loss_function
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics.paths.chain import model_chain

# Tensors that a merge reads, the shortcut's index, the control -> tensors.
Weigh = Callable[[Sequence[Tensor], int, Tensor], Sequence[Tensor]]


class ChainGradient:
    """The loss gradient at the first block's input, for any weights of the branches.

    The forward pass is the model's own. In the backward pass, every merge passes
    gradients on as `weigh` says. Made and compiled once per model, it can be called
    again as weights change.

    Args:
        model: `keras.Model` with residual blocks.
        loss: As `path_gradients` takes it.
        weigh: Callable `(tensors, shortcut, control) -> tensors`: what a merge reads,
            the index of the shortcut, and its control. It returns the same values,
            through which the gradients that are meant to flow (see `backward_only`).
        training: bool. Whether layers run in training mode.
        twice: bool. Whether the batch is run as two halves of one that is twice as
            large. The loss is that of the first half, so that all the gradient of the
            second is what `weigh` has brought there.
        data: As `PathGradients` takes it.

    Attributes:
        subject: `Subject`.
        chain: The `Chain` of the model's blocks.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Identifier | None,
        weigh: Weigh,
        training: bool = False,
        twice: bool = False,
        data: Any = None,
    ) -> None:
        self.subject, self.loss, self.training = Subject(model, data), loss, training
        self._twice = twice
        self.graph, self.chain = self.subject.graph, model_chain(self.subject)
        self._weigh = weigh
        self._start = backend.compiled(self._first_input)
        self._value_and_gradient = backend.value_and_gradients(self._value)

    def on(
        self, x: Sequence[np.ndarray], y: Any = None
    ) -> Callable[[ArrayLike], np.ndarray]:
        """Runs the forward pass up to the first block.

        Args:
            x: The batch: list of arrays, one per input of the model.
            y: Targets, or `None`.

        Returns:
            Callable from the controls, an array whose first axis is that of the
            blocks, to the gradient: an array of shape `(batch, ...)`, in which every
            sample has the gradient of its own loss.
        """
        size = len(x[0])
        if self._twice:
            x = [np.concatenate([array, array]) for array in x]
        x = [ops.convert_to_tensor(array) for array in x]
        y = y if y is None else tree.map_structure(ops.convert_to_tensor, y)
        values = [variable.value for variable in self.subject.model.variables]
        start = self._start(values, x)

        def gradient(weights: ArrayLike) -> np.ndarray:
            controls = self.chain.controls(weights)
            controls = tree.map_structure(ops.convert_to_tensor, controls)
            _, (found,) = self._value_and_gradient([start], values, x, y, controls)
            # The loss is a mean over the batch.
            return size * ops.convert_to_numpy(found)

        return gradient

    def _first_input(self, values: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
        call = self.graph.producers()[self.chain.start]
        hook = _Tap(call, self.chain.start)
        with stateless(self.subject.model.variables, values):
            _, found = graph.run(self.graph, x, hook, None, self.training)
        return found[call.name]

    def _value(
        self,
        variables: Sequence[Tensor],
        values: Sequence[Tensor],
        x: Sequence[Tensor],
        y: Any,
        controls: dict[str, Tensor],
    ) -> Tensor:
        call = self.graph.producers()[self.chain.start]
        index = call.outputs.index(self.chain.start)
        hook = _Weigh(self.chain, self._weigh, call, index, variables[0])
        with stateless(self.subject.model.variables, values):
            outputs, _ = graph.run(self.graph, x, hook, controls, self.training)
            if self._twice:
                x, outputs = [*map(_first_half, x)], [*map(_first_half, outputs)]
            return loss_function(
                self.subject, self.loss, outputs, y, x, training=self.training
            )


def backward_only(x: Tensor, weighed: Tensor) -> Tensor:
    """Returns `x` with the gradient of `weighed`."""
    # The order of the terms matters: the second is exactly 0.
    return ops.stop_gradient(x) + (weighed - ops.stop_gradient(weighed))


class _Tap(graph.Hook):
    """Observes one value."""

    def __init__(self, call, value):
        self.name, self.index = call.name, call.outputs.index(value)

    def observation_shape(self, call):
        return () if call.name == self.name else None

    def observe(self, call, inputs, outputs):
        return ops.cast(outputs[self.index], "float32")


class _Weigh(graph.Hook):
    """Puts `start` in the place of a value, and weighs what merges pass back."""

    def __init__(self, chain, weigh, call, index, start):
        self.chain, self.weigh = chain, weigh
        self.name, self.index, self.start = call.name, index, start

    def enter(self, call, inputs, control):
        if control is None:
            return inputs
        block, _ = self.chain.merges[call.name]
        return self.weigh(inputs, block.shortcut, control)

    def leave(self, call, outputs, control):
        if call.name != self.name:
            return outputs
        outputs = list(outputs)
        dtype = outputs[self.index].dtype
        outputs[self.index] = ops.cast(self.start, dtype)
        return outputs


def _first_half(h: Tensor) -> Tensor:
    """The first half of a batch, with the mask and logits that are attached to it."""

    def half(h: Tensor) -> Tensor:
        return ops.split(h, 2)[0]

    first = half(h)
    _keras.hand_on(h, first, half)
    return first


def spread_rows(weights: Tensor, x: Tensor) -> Tensor:
    """Reshapes a weight per sample so that it broadcasts to the shape of `x`."""
    return ops.cast(ops.reshape(weights, (-1, *[1] * (len(x.shape) - 1))), x.dtype)
