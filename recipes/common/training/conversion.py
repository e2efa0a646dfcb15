"""What recipes do with converted networks."""

import pathlib
import tempfile
import warnings

import keras
import numpy as np

import fixinit
from fixinit import _keras
from fixinit.layers import facts_of


def convert(model, scheme, **options):
    """`fixinit.convert`; what it assumes is in the record, and is no warning here."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return fixinit.convert(model, scheme, **options)


def normalization_layers(model):
    """The layers of a model that normalize."""
    return [
        layer for layer in _keras.flatten_layers(model) if facts_of(layer).normalizes
    ]


def batch_losses(model, x, y, steps):
    """The losses of some training steps of a compiled model, all on one batch."""
    losses = (model.train_on_batch(x, y, return_dict=True) for _ in range(steps))
    return [float(of_step["loss"]) for of_step in losses]


def reload_error(model, x):
    """By how much of the largest output a network differs that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "free.keras"
        model.save(path)
        loaded = keras.models.load_model(path, compile=False)
    before, after = (
        keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, loaded)
    )
    return float(np.abs(before - after).max() / np.abs(before).max())
