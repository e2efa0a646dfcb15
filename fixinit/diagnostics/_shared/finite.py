"""Checks for weights that are not finite."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops


def check_weights(model: keras.Model) -> None:
    """Refuses a model with weights that are not finite."""
    for path in weights_not_finite(model):
        raise ValueError(
            f"Weight `{path}` of model `{model.name}` holds NaN or infinity: the "
            "model has diverged. Measure it before that, at initialization or "
            "from a checkpoint."
        )


def weights_not_finite(model: keras.Model) -> Iterator[str]:
    """Yields the paths of the weights that hold NaN or infinity."""
    for v in model.weights:
        value = ops.convert_to_numpy(ops.cast(v.value, "float32"))
        if not np.isfinite(value).all():
            yield v.path
