"""The loss of a model on a batch as a function of its weights."""

from collections.abc import Callable, Sequence
from typing import Any

from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.fit_loss import loss_function
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject


def weight_loss(
    subject: Subject, loss: Identifier | None, training: bool
) -> Callable[..., Tensor]:
    """Makes the function whose gradients are those that `fit` steps along.

    The loss may hold regularizers, of weights and of activations.

    Args:
        subject: `Subject`.
        loss: As `fit_loss.loss_function` takes it.
        training: bool. Whether layers run in training mode.

    Returns:
        Callable `(weights, state, x, y, sample_weight) -> loss`, to be compiled:
        `weights` and `state` are lists of tensors like the model's trainable and
        non-trainable variables.
    """
    model = subject.model

    def value(
        weights: Sequence[Tensor],
        state: Sequence[Tensor],
        x: Sequence[Tensor],
        y: Any,
        sample_weight: Any,
    ) -> Tensor:
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        with stateless(variables, [*weights, *state]):
            outputs = subject(x, training)
            return loss_function(subject, loss, outputs, y, x, sample_weight, training)

    return value
