"""Scales of the user's own at the end of branches, recognized by what they compute."""

import keras
import numpy as np
import pytest
from keras import layers

import fixinit
from tests.conversion.helpers import convert, normal, said, still


class OwnScale(layers.Layer):
    """A scale of each channel, or of all of them, that nothing is declared about."""

    def __init__(self, start=1e-6, axes=1, bias=False, **kwargs):
        super().__init__(**kwargs)
        self.start, self.axes, self.has_bias = start, axes, bias

    def build(self, shape):
        start = keras.initializers.Constant(self.start)
        shape = (1,) * (self.axes - 1) + tuple(shape[-1:]) if self.axes else ()
        self.gamma = self.add_weight(shape=shape, initializer=start, name="gamma")
        self.beta = self.add_weight(shape=(), initializer="ones", name="beta")

    def call(self, x):
        return x * self.gamma * self.beta + (self.beta if self.has_bias else 0.0)

    def get_config(self):
        own = {"start": self.start, "axes": self.axes, "bias": self.has_bias}
        return {**super().get_config(), **own}


class OwnDense(layers.Layer):
    """A weight layer of unknown kind that starts at zero."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1],) * 2, initializer="zeros")

    def call(self, x):
        return x @ self.kernel


def network(make):
    x = layers.Dense(16, name="stem")(inputs := keras.Input((8,)))
    for index in range(3):
        y = layers.Dense(16, "relu")(layers.LayerNormalization()(x))
        y = make(f"own{index}")(layers.Dense(16)(y))
        x = layers.Add()([x, layers.Dropout(0.1)(y)])
    return keras.Model(inputs, layers.Dense(2)(x))


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", ["rezero", "fixup", "skip_init"])
@pytest.mark.parametrize(
    "options",
    [{}, {"start": 0.0}, {"axes": 2}, {"axes": 0, "start": 0.0}, {"start": 0.1}],
)
def test_small_scales_are_taken_over(scheme, options):
    model = network(lambda name: OwnScale(name=name, **options))
    assert "takes over: own0, own1, own2" in said(model, scheme)
    free = convert(model, scheme)
    assert not any(isinstance(layer, OwnScale) for layer in free.layers)
    depths = [b["branches"][0]["depth"] for b in free.conversion["blocks"]]
    assert depths == [2] * 3
    assert not still(free)
    kept = convert(model, scheme, keep=(OwnScale,))
    assert sum(isinstance(layer, OwnScale) for layer in kept.layers) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda name: OwnScale(1.0, name=name),
        lambda name: OwnScale(0.0, bias=True, name=name),
        lambda name: OwnDense(name=name),
    ],
)
def test_other_layers_of_ones_own_stay(make):
    free = convert(network(make), "scaled_residual")
    assert {"own0", "own1", "own2"} <= {layer.name for layer in free.layers}


def test_small_scales_of_the_stream_are_taken_out():
    """A block with such a scale and without a shortcut would end the signal."""
    x = inputs = keras.Input((8,))
    for name in ("first", "second"):
        h = layers.Dense(16, "relu")(layers.LayerNormalization()(x))
        x = OwnScale(1e-5, name=name)(layers.Dense(16)(h))
    free = convert(keras.Model(inputs, layers.LayerNormalization()(x)))
    y = free.predict(normal(64, 8), verbose=0)
    assert 0.2 < np.mean(y**2) < 5
    assert not {"first", "second"} & {layer.name for layer in free.layers}


def test_scales_of_trained_models_stay_where_statistics_are_folded():
    x = inputs = keras.Input((8,))
    y = layers.BatchNormalization()(layers.Dense(8)(x))
    model = keras.Model(inputs, x + OwnScale(name="own")(y))
    free = fixinit.convert(model, weights="fold")
    x = normal(4, 8)
    np.testing.assert_allclose(
        free.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert "own" in {layer.name for layer in free.layers}
