"""Default loss of a model that is not compiled, inferred from its targets."""

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit._typing import Shape, Tensor


def default_loss(
    target: Tensor,
    output: Tensor,
    spec: keras.KerasTensor,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Computes the mean loss of one output.

    Integers are classes or one-hot rows, for which the loss is cross-entropy, of
    probabilities behind a softmax or a sigmoid and of logits otherwise. For floats it
    is the mean squared error.

    Args:
        target: Tensor.
        output: Tensor.
        spec: `keras.KerasTensor`, the model's output that it is.
        sample_weight: Tensor of weights, or `None`.

    Raises:
        ValueError: If the shapes do not fit, or if integers may mean several things.
    """
    loss = loss_for(target, spec)
    if _kind(target, spec) == "sparse_categorical":
        target = ops.reshape(target, output.shape[:-1])
    else:
        target = ops.cast(ops.reshape(target, output.shape), "float32")
    return loss(target, output, sample_weight)


def loss_for(target: Tensor, spec: keras.KerasTensor) -> keras.losses.Loss:
    """The loss that follows from the targets of an output, as `default_loss` has it.

    Args:
        target: Tensor or array.
        spec: `keras.KerasTensor`, the model's output.

    Raises:
        ValueError: If the shapes do not fit, or if integers may mean several things.
    """
    logits = _activation(spec) != "softmax"
    return {
        "sparse_categorical": keras.losses.SparseCategoricalCrossentropy(logits),
        "categorical": keras.losses.CategoricalCrossentropy(logits),
        "binary": keras.losses.BinaryCrossentropy(),
        "mean_squared": keras.losses.MeanSquaredError(),
    }[_kind(target, spec)]


def check_target(target: np.ndarray, spec: keras.KerasTensor) -> None:
    """Refuses an array that `default_loss` cannot take, before anything runs.

    Backends treat labels that are out of range in ways of their own.
    """
    kind = _kind(target, spec)
    if kind == "categorical":
        if target.min() < 0 or not np.all(target.sum(axis=-1) == 1):
            raise ValueError(
                "Argument `y` holds integers of the shape of output "
                f"`{_name(spec)}`, {target.shape}, that are not one-hot. Pass `loss=` "
                "to say what they are, or give targets as floating-point numbers for "
                "mean squared error."
            )
        return
    count = {"sparse_categorical": spec.shape[-1], "binary": 2}.get(kind)
    if count is not None and not (0 <= target.min() and target.max() < count):
        raise ValueError(
            f"Argument `y` must hold classes from 0 to {count - 1} for output "
            f"`{_name(spec)}`. Received: integers from {target.min()} to "
            f"{target.max()}. Let labels count from 0, or give targets as "
            "floating-point numbers for mean squared error."
        )


def _kind(target: Tensor, spec: keras.KerasTensor) -> str:
    shape, of_output = tuple(target.shape), tuple(spec.shape)
    units = of_output[-1] if len(of_output) > 1 else 1
    same = (
        _agree(shape, of_output)
        or _agree((*shape, 1), of_output)
        or _agree(shape, (*of_output, 1))
    )
    if "float" in keras.backend.standardize_dtype(target.dtype):
        if same:
            return "mean_squared"
        hint = "Class labels must be integers."
    else:
        if same and _activation(spec) == "sigmoid":
            return "binary"
        if units != 1 and _agree(shape, of_output):
            return "categorical"
        classes = of_output[:-1]
        if units != 1 and (_agree(shape, classes) or _agree(shape, (*classes, 1))):
            return "sparse_categorical"
        hint = (
            "For one unit without a sigmoid, integers may be classes or numbers: pass "
            "loss=keras.losses.BinaryCrossentropy(from_logits=True) or loss='mse'."
            if same
            else "Pass `loss=` if they fit in another way."
        )
    raise ValueError(
        f"Argument `y` holds targets of shape {shape} and dtype "
        f"{keras.backend.standardize_dtype(target.dtype)}, from which no loss follows "
        f"for output `{_name(spec)}` of shape {of_output}. {hint}"
    )


def _agree(shape: Shape, specified: Shape) -> bool:
    return len(shape) == len(specified) and all(
        m is None or n == m for n, m in zip(shape, specified, strict=True)
    )


def _activation(spec: keras.KerasTensor) -> str:
    """Names the activation of an output: "softmax", "sigmoid" or any other."""
    operation, _, index = _keras.origin(spec)
    while isinstance(operation, keras.Model):
        operation, _, index = _keras.origin(operation.outputs[index])
    activation = getattr(operation, "activation", None)
    return getattr(activation, "__name__", type(operation).__name__).lower()


def _name(spec: keras.KerasTensor) -> str:
    return _keras.origin(spec)[0].name
