"""Batches of a measurement: checks of inputs and targets."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fixinit import _keras, graph
from fixinit._typing import Identifier
from fixinit.diagnostics._shared.default_loss import check_target
from fixinit.diagnostics._shared.fit_loss import is_compiled, one_per_output
from fixinit.diagnostics._shared.subject import Subject

# Layers that read integers as well as other numbers.
_OF_INTEGERS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Rescaling,
    keras.layers.Normalization,
)


def check_batch(
    subject: Subject, x: Any, y: Any, loss: Identifier | None = None
) -> tuple[list[np.ndarray], Any]:
    """Checks a batch: `(list of arrays, targets)`, one array per input of the model.

    Args:
        subject: `Subject`.
        x: Array, or a list or dict of them for several inputs.
        y: Targets, in the structure of the outputs, or `None`.
        loss: As `loss_function` takes it.

    Raises:
        TypeError: If something is no array, ragged, or of another dtype than the model
            takes.
        ValueError: If it does not fit the model or its default loss, or is not finite.
    """
    names = [tensor.name for tensor in subject.inputs]
    if isinstance(x, dict) and set(names) <= x.keys():
        arrays = [x[name] for name in names]
    elif len(names) == 1:
        arrays = tree.flatten(_batch("Argument `x`", x, len(subject.inputs[0].shape)))
    else:
        arrays = tree.flatten(x)
    if len(arrays) != len(names):
        raise ValueError(
            f"Model `{subject.model.name}` has {len(names)} inputs, {names}. Received "
            f"{len(arrays)} arrays for `x`. Give a list of {len(names)}, or a dict."
        )
    arrays = [_checked(subject, i, array) for i, array in enumerate(arrays)]
    return arrays, None if y is None else _checked_targets(subject, y, arrays, loss)


def _checked_targets(
    subject: Subject, y: Any, x: Sequence[np.ndarray], loss: Identifier | None
) -> Any:
    if len(subject.outputs) == 1:
        y = _batch("Argument `y`", y, 1)
    y = tree.map_structure(lambda array: _array("Argument `y`", array), y)
    for array in tree.flatten(y):
        if array.shape[:1] != (len(x[0]),):
            raise ValueError(
                f"`x` and `y` must hold as many samples as each other. Received first "
                f"axes of {len(x[0])} and {array.shape[:1]}."
            )
        _check_finite("Argument `y`", array)
    y = tree.map_structure(_as_fit_does, y)
    if loss is None and not is_compiled(subject.model):
        for pair in zip(one_per_output(subject, y), subject.outputs, strict=True):
            check_target(*pair)
    return y


def _as_fit_does(array: np.ndarray) -> np.ndarray:
    """Targets of the precision that `fit` hands on."""
    is_float = np.issubdtype(array.dtype, np.floating)
    return array.astype(keras.config.floatx()) if is_float else array


def _batch(what: str, value: Any, min_rank: int) -> Any:
    """Makes one array of a batch that is written as a list of samples.

    Other values stay as they are, and so does a list of one array of this rank.
    """
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) == 1 and len(getattr(value[0], "shape", ())) >= min_rank:
        return value
    return _array(what, value)


def _array(what: str, value: Any) -> np.ndarray:
    # TensorFlow's ragged and PyTorch's nested tensors, which would be padded.
    if hasattr(value, "ragged_rank") or getattr(value, "is_nested", False):
        raise _ragged(what)
    if ops.is_tensor(value):
        return ops.convert_to_numpy(value)
    if isinstance(value, keras.utils.PyDataset):
        raise _no_array(what, value, "dataset[0]")
    try:
        array = np.asarray(value)
    except ValueError:
        raise _ragged(what) from None
    if array.dtype == object:
        if array.ndim:
            raise _ragged(what)
        raise _no_array(what, value, "next(iter(dataset))")
    return array


def _no_array(what: str, value: Any, batch: str) -> TypeError:
    return TypeError(
        f"{what} must be an array, the samples of one batch. Received: {value!r}. "
        f"Take a batch out of a data set: `x, y = {batch}`."
    )


def _ragged(what: str) -> TypeError:
    return TypeError(
        f"{what} must be one array. Received samples of different shapes or a ragged "
        "tensor. Pad them to one shape."
    )


def _check_finite(what: str, array: np.ndarray) -> None:
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        row = np.argwhere(~np.isfinite(array))[0][0]
        raise ValueError(
            f"{what} must be finite. Received NaN or infinity in sample {row}. Look at "
            "how the data was read and scaled."
        )


def _checked(subject: Subject, index: int, array: Any) -> np.ndarray:
    tensor = subject.inputs[index]
    what = f"Input `{tensor.name}` of argument `x`"
    array = _array(what, array)
    floats = "float" in keras.backend.standardize_dtype(tensor.dtype)
    is_float = np.issubdtype(array.dtype, np.floating)
    if floats and not is_float and not _takes_integers(subject, index):
        raise TypeError(
            f"{what} must be floating-point, as the model was trained on or is meant "
            f"for. Received: dtype {array.dtype}. Convert and scale it first, for "
            "images `x = x.astype('float32') / 255`. If it holds indices, say so in "
            "the model: `keras.Input(shape, dtype='int32')`."
        )
    shape = tensor.shape
    fits = len(array.shape) == len(shape) and all(
        n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        raise ValueError(
            f"{what} takes batches of shape {tuple(shape)}. Received: {array.shape}"
        )
    _check_finite(what, array)
    _check_indices(what, array, _readers(subject, index))
    # Data may fill half of the memory, and backends warn of arrays that are read-only.
    return array.astype(tensor.dtype, copy=not array.flags.writeable)


def _check_indices(what: str, array: np.ndarray, readers: Sequence[graph.Call]) -> None:
    """Refuses indices beyond an embedding, which backends take for 0 or an error."""
    # Subclasses may do as they like.
    kind = keras.layers.Embedding
    layers = [call.operation for call in readers]
    sizes = [v.input_dim for v in layers if getattr(type(v), "call", 0) is kind.call]
    low, high = array.min(initial=0), array.max(initial=0)
    if sizes and (low < 0 or high >= min(sizes)):
        raise ValueError(
            f"{what} must hold indices from 0 to {min(sizes) - 1}, the rows of the "
            f"embedding that reads it. Received indices from {low:g} to {high:g}. Give "
            "the embedding more rows, or map rare indices to one."
        )


def _readers(subject: Subject, index: int) -> list[graph.Call]:
    """The calls that read an input."""
    traced = subject.closed_graph
    value = traced.inputs[index]
    return [c for c in traced.calls if value in c.inputs and not c.is_input]


def _takes_integers(subject: Subject, index: int) -> bool:
    """Whether an input goes to an embedding or is rescaled, so that integers are meant.

    Keras's default dtype for inputs is floating-point nevertheless. Layers without
    weights may stand between, as those that augment images.
    """
    traced = subject.closed_graph
    reached = {traced.inputs[index]}
    for call in traced.calls:
        if call.is_input or reached.isdisjoint(call.inputs):
            continue
        held = getattr(call.operation, "weights", ())
        if isinstance(call.operation, keras.layers.Layer):
            layers = _keras.flatten_layers(call.operation)
            if any(isinstance(layer, _OF_INTEGERS) for layer in layers):
                return True
        if not held:
            reached.update(call.outputs)
    return False
