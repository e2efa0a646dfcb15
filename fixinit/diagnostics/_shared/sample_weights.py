"""Weights of samples, and those of classes, as `fit` takes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit.diagnostics._shared.fit_loss import one_per_output
from fixinit.diagnostics._shared.subject import Subject


def sample_weights(
    subject: Subject,
    x: Sequence[np.ndarray],
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Any:
    """Checks weights of samples or of classes, and makes the former of the latter.

    Args:
        subject: `Subject`.
        x, y: What `check_batch` gives.
        sample_weight: Array with a weight for every sample, or of the shape of what
            the loss is computed for, such as `(batch, steps)`. For several outputs one
            for all of them, or one for each in a list or dict. Or `None`.
        class_weight: Dict from classes to weights, 1 for those that it lacks, for a
            model with one output; or `None`.

    Returns:
        Array, or a structure of them like the model's outputs; `None` without weights.

    Raises:
        ValueError: If both are given, or either without targets, or if they do not fit
            the model or are not finite.
    """
    if sample_weight is None and class_weight is None:
        return None
    if sample_weight is not None and class_weight is not None:
        raise ValueError(
            "Arguments `sample_weight` and `class_weight` exclude each other, as in "
            "`fit`. Received both. Multiply them: one weight for every sample."
        )
    if y is None:
        name = "class_weight" if sample_weight is None else "sample_weight"
        raise ValueError(
            f"Argument `{name}` weights a loss, and there is none without targets. "
            "Received: y=None. Give `y`."
        )
    if class_weight is not None:
        return _of_classes(subject, y, class_weight)
    several = len(subject.outputs) > 1
    if several and isinstance(sample_weight, (list, tuple, dict)):
        given = one_per_output(subject, sample_weight, "sample_weight")
        return subject.structured([_checked(w, len(x[0])) for w in given])
    weights = _checked(sample_weight, len(x[0]))
    return subject.structured([weights] * len(subject.outputs)) if several else weights


def _checked(value: Any, size: int) -> np.ndarray:
    weights = np.asarray(keras.ops.convert_to_numpy(value), keras.config.floatx())
    if weights.shape[:1] != (size,):
        raise ValueError(
            f"Argument `sample_weight` must hold a weight for each of {size} samples. "
            f"Received: shape {weights.shape}."
        )
    if not np.isfinite(weights).all():
        raise ValueError(
            "Argument `sample_weight` must be finite. Received NaN or infinity in "
            f"sample {np.argwhere(~np.isfinite(weights))[0][0]}."
        )
    return weights


def _of_classes(
    subject: Subject, y: Any, class_weight: Mapping[int, float]
) -> np.ndarray:
    """The weight of every sample, that of its class."""
    if len(subject.outputs) > 1:
        raise ValueError(
            "Argument `class_weight` is for models with one output. Received: "
            f"`{subject.model.name}` with {len(subject.outputs)}. Give `sample_weight`."
        )
    (labels,) = tree.flatten(y)
    if labels.ndim > 1:
        one_hot = labels.shape[-1] != 1
        labels = labels.argmax(axis=-1) if one_hot else labels[..., 0]
    if labels.ndim > 1:
        raise ValueError(
            "Argument `class_weight` needs one class for every sample. Received: "
            f"targets of shape {tree.flatten(y)[0].shape}. Give `sample_weight`."
        )
    weights = [class_weight.get(int(label), 1.0) for label in np.rint(labels)]
    return _checked(np.asarray(weights, "float64"), len(labels))
