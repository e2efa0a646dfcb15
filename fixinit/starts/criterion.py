"""Criteria of a model's loss and its gradients, as functions of factors of weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.finite import check_weights
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.weight_loss import weight_loss
from fixinit.starts.scales import Scales

# From the loss of weights, the weights, and the rest of its arguments, to a scalar.
Criterion = Callable[[Callable[..., Tensor], list[Tensor], Sequence[Any]], Tensor]


class Problem:
    """A model on a batch whose weights are multiplied by factors.

    Args:
        model: `keras.Model`, built. It stays as it is.
        x, y: A batch.
        loss: As `fixinit.diagnostics.diagnose` takes it.
        scales: `Scales`.
    """

    def __init__(
        self, model: keras.Model, x: Any, y: Any, loss: Identifier, scales: Scales
    ) -> None:
        if y is None:
            raise ValueError(
                "Argument `y` is needed by methods that look at the loss. Pass the "
                "targets of `x`."
            )
        subject = Subject(model, x)
        check_weights(model)
        arrays, targets = check_batch(subject, x, y, loss)
        self._batch = (
            [ops.convert_to_tensor(a) for a in arrays],
            tree.map_structure(ops.convert_to_tensor, targets),
            None,
        )
        self._loss = weight_loss(subject, loss, training=False)
        self._weights = [v.value for v in model.trainable_variables]
        self._state = [v.value for v in model.non_trainable_variables]
        self.scales = scales

    def compiled(self, criterion: Criterion) -> Callable[..., Any]:
        """A function from factors to `(value, gradients)` of a criterion."""

        def value(factors: list[Tensor], weights: list[Tensor], *rest: Any) -> Tensor:
            return criterion(self._loss, self.scales.scaled(weights, factors), rest)

        function = backend.value_and_gradients(value)

        def evaluate(factors: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
            tensors = [ops.convert_to_tensor(f) for f in factors]
            with backend.kept_random_state():
                found, gradients = function(
                    tensors, self._weights, self._state, *self._batch
                )
            arrays = [ops.convert_to_numpy(g) for g in gradients]
            return float(ops.convert_to_numpy(found)), arrays

        return evaluate


def check_finite(method: str, value: float, gradients: Sequence[np.ndarray]) -> None:
    """Refuses a criterion that has become infinite."""
    if np.isfinite(value) and all(np.isfinite(g).all() for g in gradients):
        return
    raise ValueError(
        f"The criterion of method='{method}' or its gradient is not finite at these "
        "weights. Start from smaller ones, as of fixinit.convert or a scheme of "
        "fixinit.schemes, or take method='lsuv'. Nothing was changed."
    )
