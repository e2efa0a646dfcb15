"""The scalar whose gradients are measured: the loss that `fit` minimizes."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras
from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_keras
from fixinit.diagnostics._shared.default_loss import default_loss
from fixinit.diagnostics._shared.subject import Subject
from fixinit.graph.functional import has_own


def loss_function(
    subject: Subject,
    loss: Identifier | None,
    outputs: Sequence[Tensor],
    y: Any,
    x: Sequence[Tensor] | None = None,
    sample_weight: Any = None,
    training: bool = True,
) -> Tensor:
    """Computes the scalar whose gradients are measured.

    It is to be called where the model was: losses of layers are those of the last call,
    in the same `stateless`. The outputs are taken as they are, with the masks and
    logits that Keras has attached to them, which losses read.

    Args:
        subject: `Subject`.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`, for each of the
            outputs; the sum is taken, and what layers and regularizers add. `None`
            takes what `fit` minimizes, the model's `compute_loss`; if the model is not
            compiled, see `default_loss`.
        outputs: List of tensors, the model's outputs.
        y: Targets in the structure of the outputs, or `None`: the gradient is then
            that of a weighted sum of the outputs, with fixed weights of both signs.
        x: List of tensors, the inputs, which a `compute_loss` of one's own may read.
        sample_weight: What `sample_weights` gives.
        training: bool. Whether the outputs are those of training mode.
    """
    if y is None:
        return sum(_weighted_sum(h, seed) for seed, h in enumerate(outputs))
    model = subject.model
    if loss is None and (is_compiled(model) or (model.compiled and model.losses)):
        return _keras.compute_loss(
            model,
            x=None if x is None else subject.packed(x),
            y=y,
            y_pred=subject.structured(outputs),
            sample_weight=sample_weight,
            training=training,
        )
    of_outputs = _losses_of_outputs(subject, loss, outputs, y, sample_weight)
    of_layers = [ops.sum(ops.cast(value, "float32")) for value in model.losses]
    return sum([*of_outputs, *of_layers])


def is_compiled(model: keras.Model) -> bool:
    """Whether `compile` or the class of a model says what `fit` minimizes."""
    given = getattr(model, "loss", None) is not None
    return model.compiled and (given or has_own(model, "compute_loss"))


def in_order(y: Any, names: Sequence[str]) -> list[Any]:
    """Lists targets, or other values, in the order of the outputs' names."""
    if isinstance(y, dict) and set(names) == y.keys():
        return [y[name] for name in names]
    return tree.flatten(y)


def one_per_output(subject: Subject, y: Any, what: str = "y") -> list[Any]:
    """Lists targets, or other values, in the order of the outputs."""
    targets = in_order(y, subject.output_names)
    if len(targets) != len(subject.outputs):
        kind = "targets" if what == "y" else "values"
        raise ValueError(
            f"Argument `{what}` must hold {kind} for the {len(subject.outputs)} "
            f"outputs of `{subject.model.name}`. Received {len(targets)} arrays."
        )
    return targets


def _losses_of_outputs(
    subject: Subject,
    loss: Identifier | None,
    outputs: Sequence[Tensor],
    y: Any,
    sample_weight: Any,
) -> list[Tensor]:
    """The loss of every output, as `compile` would make it of `loss`."""
    targets = one_per_output(subject, y)
    weights = [sample_weight] * len(outputs)
    if tree.is_nested(sample_weight):
        weights = one_per_output(subject, sample_weight, "sample_weight")
    rows = zip(targets, outputs, weights, subject.outputs, strict=True)
    if loss is None:
        return [default_loss(t, h, spec, w) for t, h, w, spec in rows]
    loss = check_keras("loss", loss, keras.losses.get, "a loss")
    _check_takes_two(loss)
    return [ops.mean(_keras.CompileLoss(loss)(t, h, w)) for t, h, w, _ in rows]


def _check_takes_two(loss: Any) -> None:
    """Refuses a function that cannot be called on targets and outputs."""
    if not inspect.isfunction(loss):
        return
    try:
        inspect.signature(loss).bind(None, None)
    except TypeError as error:
        raise ValueError(
            "Argument `loss` must be a callable (y_true, y_pred). Received: "
            f"loss={loss!r}, which takes other arguments: {error}"
        ) from error


def _weighted_sum(h: Tensor, seed: int) -> Tensor:
    """Sums over outputs with random signs; the mean of that over the batch."""
    h = ops.cast(h, "float32")
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1, 1], "float32"), size=tuple(h.shape))
    return ops.sum(h * ops.convert_to_tensor(signs)) / h.shape[0]
