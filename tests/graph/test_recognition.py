"""Normalization of one's own, recognized by what it computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph.recognition import centers, normalizes


class RootMeanSquare(layers.Layer):
    """Recognized: without its mean in the way."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        square = ops.mean(ops.square(x), -1, keepdims=True)
        return x * ops.rsqrt(square + 1e-6) * self.gain


class Standardize(layers.Layer):
    def call(self, x):
        x = x - ops.mean(x, -1, keepdims=True)
        return x / (ops.std(x, -1, keepdims=True) + 1e-5)


class Sign(layers.Layer):
    def call(self, x):
        return ops.sign(x)


class Affine(RootMeanSquare):
    def call(self, x):
        return x * self.gain


class Nothing(layers.Layer):
    def call(self, x):
        return ops.zeros_like(x)


class Softmaxed(layers.Layer):
    def call(self, x):
        return ops.softmax(x)


def built(kind, shape=(None, 8)):
    layer = kind()
    layer(keras.Input(shape[1:]))
    return layer


@pytest.mark.parametrize("shape", [(None, 8), (None, None, 8)])
@pytest.mark.parametrize(
    ("kind", "mean"), [(RootMeanSquare, False), (Standardize, True)]
)
def test_normalization(kind, mean, shape):
    layer = built(kind, shape)
    assert normalizes(layer)
    assert centers(layer) == mean


def test_normalization_that_is_built_for_another_size():
    """As of the queries of each head, built for all heads."""

    class OfHeads(RootMeanSquare):
        def build(self, shape):
            super().build((4,))

    layer = OfHeads()
    layer.build((None, None, 16))
    assert normalizes(layer) and not centers(layer)


@pytest.mark.parametrize("kind", [Sign, Affine, Nothing, Softmaxed])
def test_no_normalization(kind):
    assert not normalizes(built(kind))


def test_layers_that_are_not_built_or_hold_others():
    assert not normalizes(RootMeanSquare())
    assert not normalizes(layers.TimeDistributed(RootMeanSquare()))


@pytest.mark.parametrize("kind", [RootMeanSquare, Standardize])
def test_is_taken_out(kind):
    x = inputs = keras.Input((8,))
    for _ in range(3):
        branch = layers.Dense(8)(layers.ReLU()(layers.Dense(8)(kind()(x))))
        x = layers.Add()([x, branch])
    model = keras.Model(inputs, x)
    free = fixinit.convert(model, "fixup", seed=0)
    assert free.conversion["removed"].keys() == {kind.__name__}
    assert not any(isinstance(layer, kind) for layer in free.layers)
    x = np.ones((2, 8), "float32")
    np.testing.assert_allclose(ops.convert_to_numpy(free(x)), x, atol=1e-6)
    kept = fixinit.convert(model, "fixup", keep=kind, seed=0)
    assert any(isinstance(layer, kind) for layer in kept.layers)
