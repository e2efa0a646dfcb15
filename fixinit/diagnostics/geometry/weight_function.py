"""A model on a fixed batch as a function of its trainable weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.finite import check_weights
from fixinit.diagnostics._shared.stateless import outputs_of
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.weight_loss import weight_loss


class WeightFunction:
    """Loss, gradients and outputs of a model as functions of its weights.

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs.
        y: Their targets.
        loss: Keras loss, its name, a callable or `None`: see `fit_loss.loss_function`.
        training: bool. Whether layers run in training mode.
        sample_weight: What `sample_weights` gives.

    Attributes:
        num_samples: int. Size of the batch.

    Raises:
        TypeError: If the model has no graph, or inputs of another kind than it takes.
        ValueError: If the model is not built, or the batch or a weight not finite.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any,
        loss: Identifier | None = None,
        training: bool = False,
        sample_weight: Any = None,
    ) -> None:
        self._subject = Subject(model, x)
        check_weights(model)
        self._training = bool(training)
        x, y = check_batch(self._subject, x, y, loss)
        self.num_samples = len(x[0])
        self._x = [ops.convert_to_tensor(h) for h in x]
        self._y = tree.map_structure(ops.convert_to_tensor, y)
        self._given = None
        if sample_weight is not None:
            self._given = tree.map_structure(ops.convert_to_tensor, sample_weight)
        self._outputs = backend.compiled(self._call)
        value = weight_loss(self._subject, loss, self._training)
        self._loss_value = backend.compiled(value)
        self._evaluate = backend.value_and_gradients(value)
        self._hessian_product = backend.hessian_products(value)

    def own_weights(self) -> list[Tensor]:
        """The weights of the model."""
        return [v.value for v in self._subject.model.trainable_variables]

    def outputs(self, weights: Sequence[Tensor]) -> np.ndarray:
        """Returns all outputs for the batch as one long array."""
        with backend.kept_random_state():
            outputs = self._outputs(weights, self._state(), self._x)
        outputs = [ops.convert_to_numpy(h).astype("float64") for h in outputs]
        return np.concatenate([h.reshape(-1) for h in outputs])

    def loss(self, weights: Sequence[Tensor]) -> float:
        """Computes the loss."""
        with backend.kept_random_state():
            value = self._loss_value(weights, self._state(), *self._batch())
        return float(ops.convert_to_numpy(value))

    def loss_and_gradients(
        self, weights: Sequence[Tensor], rows: slice | None = None
    ) -> tuple[float, list[Tensor]]:
        """Computes `(loss, gradients)`, the latter like `weights`.

        Args:
            weights: List of tensors.
            rows: slice of the samples that are taken, all by default.
        """
        with backend.kept_random_state():
            value, gradients = self._evaluate(
                weights, self._state(), *self._batch(rows)
            )
        return float(ops.convert_to_numpy(value)), gradients

    def hessian_product(
        self, weights: Sequence[Tensor], vectors: Sequence[Tensor]
    ) -> list[Tensor]:
        """Computes the Hessian of the loss times `vectors`, a list like `weights`."""
        with backend.kept_random_state():
            return self._hessian_product(
                weights, vectors, self._state(), *self._batch()
            )

    def _batch(self, rows: slice | None = None) -> tuple[Any, Any, Any]:
        batch = (self._x, self._y, self._given)
        if rows is None:
            return batch
        x, y, given = (
            None if part is None else tree.map_structure(lambda h: h[rows], part)
            for part in batch
        )
        return x, y, given

    def _state(self) -> list[Tensor]:
        return [v.value for v in self._subject.model.non_trainable_variables]

    def _call(
        self, weights: Sequence[Tensor], state: Sequence[Tensor], x: Sequence[Tensor]
    ) -> list[Tensor]:
        return outputs_of(self._subject, x, weights, state, self._training)
