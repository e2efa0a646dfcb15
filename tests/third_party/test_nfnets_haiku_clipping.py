"""Adaptive clipping is the authors' own: compared with values recorded from it."""

import pathlib

import keras
import numpy as np
import pytest

import fixinit
from tests.optimizers.clipping import Recorder, applied, seen
from third_party import nfnets_haiku

RECORDED = pathlib.Path(nfnets_haiku.__file__).parent / "nf_resnet_tiny.npz"
OPTIONS = {"use_bias": False, "kernel_initializer": "zeros"}


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORDED) as file:
        return dict(file)


class Weights(keras.Model):
    """The recorded network's weights in the layers that hold them in Keras.

    Haiku's layouts are Keras's. Gains of standardized kernels, one for each output,
    stand in layers of their own.
    """

    def __init__(self, recorded):
        super().__init__()
        self.holders, self.names = [], {}
        weights = [key for key in recorded if key.startswith("param/")]
        for key in weights:
            name, value = key.removeprefix("param/"), recorded[key]
            for variable in self.variables_for(name, value):
                variable.assign(value)
                self.names[id(variable)] = name

    def variables_for(self, name, value):
        if name.endswith("skip_gain"):
            layer = fixinit.layers.ScalarMultiplier()
            layer.build((None, 4))
        elif name.endswith(("/gain", "/bias", "/b")):
            layer = fixinit.layers.Parameter(value.shape)
            layer.build((None, 4))
        elif value.ndim == 4:
            layer = keras.layers.Conv2D(value.shape[-1], value.shape[0], **OPTIONS)
            layer.build((None, 8, 8, value.shape[2]))
        else:
            layer = keras.layers.Dense(value.shape[-1], **OPTIONS)
            layer.build((None, value.shape[0]))
        self.holders.append(layer)
        return layer.trainable_variables


def named(model, values):
    pairs = zip(model.trainable_variables, values, strict=True)
    return {model.names[id(variable)]: value for variable, value in pairs}


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_clipped_gradients(recorded):
    """Of five times the gradient, wherever one is recorded; the others are `None`."""
    model, recorder = Weights(recorded), Recorder()
    model.built = True
    optimizer = fixinit.optimizers.adaptive_clipping(
        recorder, model, factor=0.02, clip_head=True
    )
    names = [model.names[id(v)] for v in model.trainable_variables]
    gradients = [recorded.get(f"grad/{name}") for name in names]
    given = [g if g is None else 5 * g for g in gradients]
    applied(optimizer, model.trainable_variables, given)
    found = named(model, seen(recorder))
    prefix = "agc_of_5x_grad/"
    expected = {
        key.removeprefix(prefix): value
        for key, value in recorded.items()
        if key.startswith(prefix)
    }
    assert len(expected) == 60
    shortened = 0
    for name, value in expected.items():
        # Relative to the largest entry: recorded values are rounded to float32.
        largest = np.max(np.abs(value))
        assert np.max(np.abs(found[name] - value)) <= 1e-6 * largest, name
        unclipped = 5 * recorded[f"grad/{name}"]
        shortened += bool(np.max(np.abs(unclipped - value)) > 1e-3 * largest)
    assert 20 < shortened < 50
