"""Norm of the loss gradient in every trainable variable."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import backend
from fixinit._checked import checked
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.stateless import outputs_of
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch

# A Keras loss, or another function of `(y_true, y_pred)`.
Loss = Callable[[Any, Any], Tensor]


@dataclasses.dataclass(frozen=True)
class LossGradientNorms:
    """Loss on a batch, and the norms of its gradient by variable.

    Example:

    >>> found = fixinit.diagnostics.LossGradientNorms(2.0, {"kernel": 3.0, "bias": 4.0})
    >>> found.total
    5.0

    Attributes:
        loss: float.
        norms: Dict from the path of every trainable variable to the Euclidean norm of
            its gradient.
    """

    loss: float
    norms: dict[str, float]

    @property
    def total(self) -> float:
        """float: the norm of the whole gradient."""
        return global_norm(self.norms.values())


class GradientNorms:
    """Measures the norm of the loss gradient in every trainable variable.

    Made and compiled once per model, it can be called again and again as weights
    change.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=3, units=16, seed=0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> measure = fixinit.diagnostics.GradientNorms(model, loss)
    >>> found = measure(np.ones((8, 40), "float32"), np.zeros(8, "int32"))
    >>> bool(abs(found.loss - np.log(10)) < 1e-5)  # Fixup's head starts at zero
    True

    Args:
        model: `keras.Model`, built.
        loss: Keras loss of `(y_true, y_pred)`.
        data: A batch of inputs on which a model with a `call` of its own is opened: see
            `fixinit.graph.opened`. By default the shapes that it was built with.
    """

    @checked
    def __init__(self, model: keras.Model, loss: Loss, data: Any = None) -> None:
        self.model = model
        self.paths = [v.path for v in model.trainable_variables]
        self._evaluate = loss_and_gradients(model, loss, data)

    @checked
    def __call__(self, x: Any, y: Any, training: bool = False) -> LossGradientNorms:
        """Measures on one batch.

        Args:
            x: Array, a batch of inputs, or a list or dict of arrays.
            y: Array, their targets.
            training: bool. Whether the model runs in training mode. Its state
                stays as it is.

        Returns:
            `LossGradientNorms`.

        Raises:
            TypeError: If the batch is ragged, or of another dtype than the model takes.
            ValueError: If it does not fit the model or is not finite.
        """
        value, gradients = self._evaluate(x, y, training)
        # In NumPy: hundreds of small tensors cost the backends more to launch than to
        # compute.
        norms = [float(np.linalg.norm(ops.convert_to_numpy(g))) for g in gradients]
        return LossGradientNorms(
            float(ops.convert_to_numpy(value)),
            dict(zip(self.paths, norms, strict=True)),
        )


@checked
def gradient_norms(
    model: keras.Model, loss: Loss, x: Any, y: Any, training: bool = False
) -> LossGradientNorms:
    """Measures the norm of the loss gradient in every trainable variable once.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=2, units=16, seed=0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> found = fixinit.diagnostics.gradient_norms(
    ...     model, loss, np.ones((8, 40), "float32"), np.zeros(8, "int32")
    ... )
    >>> found.norms["block1/weight1/kernel"]  # Fixup's head of zeros passes nothing
    0.0

    Args:
        model: `keras.Model`, built.
        loss: Keras loss of `(y_true, y_pred)`.
        x: Array, a batch of inputs, or a list or dict of arrays.
        y: Array, their targets.
        training: bool. Whether the model runs in training mode. Its state stays as it
            is.

    Returns:
        `LossGradientNorms`.

    Raises:
        TypeError: If the batch is ragged, or of another dtype than the model takes.
        ValueError: If it does not fit the model or is not finite.
    """
    return GradientNorms(model, loss, x)(x, y, training)


@checked
def loss_and_gradients(
    model: keras.Model, loss: Loss, data: Any = None
) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """Compiles `(x, y, training) -> (loss, gradients)` for a built model.

    The gradients are in the order of `model.trainable_variables`. Nothing that
    the model holds changes.
    """
    if isinstance(loss, type):
        raise TypeError(
            "Argument `loss` must be a loss, not its class. Received: "
            f"loss={loss!r}. Make one: {loss.__name__}()."
        )
    subject, compiled = Subject(model, data), dict[bool, Callable]()

    def evaluate(x: Any, y: Any, training: bool = False) -> tuple[Tensor, list[Tensor]]:
        x, y = check_batch(subject, x, y, loss)
        if training not in compiled:

            def value(trainable, non_trainable, x, y):
                outputs = outputs_of(subject, x, trainable, non_trainable, training)
                return loss(y, subject.structured(outputs))

            compiled[training] = backend.value_and_gradients(value)
        return compiled[training](
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
            [ops.convert_to_tensor(h) for h in x],
            tree.map_structure(ops.convert_to_tensor, y),
        )

    return evaluate


def global_norm(norms: Iterable[float]) -> float:
    """Computes the norm of the whole gradient from the norms of its parts.

    Args:
        norms: Iterable of floats.
    """
    # Norms of a diverged network may overflow when squared.
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(np.fromiter(norms, "float64")))
