"""What a measurement of gradients differentiates, and the data that it takes."""

import keras
import numpy as np
from keras import ops, tree

from fixinit.diagnostics.stateless import structured


def loss_function(model, loss, outputs, y):
    """The scalar whose gradients are measured.

    Args:
        model: `keras.Model`.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`. `None` takes the
            loss that the model is compiled with; if it is not compiled, cross-entropy
            for integer targets, mean squared error for others.
        outputs: List of tensors, the model's outputs.
        y: Targets in the structure of the outputs, or `None`: the gradient is then
            that of a weighted sum of the outputs, with fixed weights of both signs.
    """
    outputs = [ops.cast(h, "float32") for h in outputs]
    if y is None:
        return sum(_weighted_sum(h, seed) for seed, h in enumerate(outputs))
    structure = structured(model, outputs)
    if loss is None and model.compiled and getattr(model, "loss", None) is not None:
        return model.compute_loss(y=y, y_pred=structure)
    if loss is not None:
        return ops.mean(keras.losses.get(loss)(y, structure))
    targets = tree.flatten(y)
    if len(targets) != len(outputs):
        raise ValueError(
            f"Argument `y` must hold targets for the {len(outputs)} outputs of "
            f"`{model.name}`. Received {len(targets)} arrays."
        )
    triples = zip(targets, outputs, model.outputs, strict=True)
    return sum(_default_loss(t, h, spec) for t, h, spec in triples)


def check_batch(model, x, y):
    """The batch as `(list of arrays, targets)`, one array per input of the model.

    Raises:
        TypeError: If `x` is ragged or of another dtype than the model takes.
        ValueError: If it does not fit the model's inputs, or is not finite.
    """
    names = [tensor.name for tensor in model.inputs]
    if isinstance(x, dict) and set(names) <= x.keys():
        arrays = [x[name] for name in names]
    else:
        arrays = tree.flatten(x)
    if len(arrays) != len(names):
        raise ValueError(
            f"Model `{model.name}` has {len(names)} inputs, {names}. Received "
            f"{len(arrays)} arrays for `x`. Give a list of {len(names)}, or a dict."
        )
    pairs = zip(arrays, model.inputs, strict=True)
    arrays = [_checked(array, tensor) for array, tensor in pairs]
    size = len(arrays[0])
    for array in (*arrays, *(() if y is None else tree.flatten(y))):
        if np.shape(array)[:1] != (size,):
            raise ValueError(
                f"`x` and `y` must hold as many samples as each other. Received first "
                f"axes of {size} and {np.shape(array)[:1]}."
            )
    return arrays, y


def _checked(array, tensor):
    if ops.is_tensor(array):
        array = ops.convert_to_numpy(array)
    try:
        array = np.asarray(array)
    except ValueError:
        array = np.asarray(array, dtype=object)
    if array.dtype == object:
        raise TypeError(
            f"Input `{tensor.name}` must be one array. Received samples of different "
            "shapes or a ragged tensor. Pad them to one shape."
        )
    floats = "float" in keras.backend.standardize_dtype(tensor.dtype)
    if floats and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"Input `{tensor.name}` must be floating-point, as the model was trained "
            f"on or is meant for. Received: dtype {array.dtype}. Convert and scale it "
            "first, for images `x = x.astype('float32') / 255`."
        )
    shape = tensor.shape
    fits = len(array.shape) == len(shape) and all(
        n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        raise ValueError(
            f"Input `{tensor.name}` takes batches of shape {tuple(shape)}. "
            f"Received: {array.shape}"
        )
    if floats and not np.isfinite(array).all():
        row = np.argwhere(~np.isfinite(array))[0][0]
        raise ValueError(
            f"Input `{tensor.name}` must be finite. Received NaN or infinity in sample "
            f"{row}. Look at how the data was read and scaled."
        )
    return array.astype(tensor.dtype)


def _weighted_sum(h, seed):
    """A sum over the batch with weights of +1 and -1."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.float32([-1, 1]), size=tuple(h.shape))
    return ops.sum(h * ops.convert_to_tensor(signs)) / h.shape[0]


def _default_loss(target, output, spec):
    is_index = "int" in keras.backend.standardize_dtype(target.dtype)
    if not is_index:
        return ops.mean(ops.square(output - ops.cast(target, output.dtype)))
    if len(target.shape) == len(output.shape):
        target = ops.squeeze(target, -1)
    last = spec._keras_history.operation
    gives_probabilities = isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    )
    losses = ops.sparse_categorical_crossentropy(
        target, output, from_logits=not gives_probabilities
    )
    return ops.mean(losses)
