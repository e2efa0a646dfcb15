"""Layers of other authors that normalize, rotate, pad or add a bias to scores."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.theory.measuring import check

layers, ops = keras.layers, keras.ops
SHAPE = (6, 16)


class RootMeanSquare(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        square = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return 2.0 * self.gain * x * ops.rsqrt(square + 1e-6)


class Rotary(layers.Layer):
    """Turns pairs of channels by angles that grow with the position."""

    def call(self, x):
        places = np.arange(x.shape[1])[:, None]
        angles = places * 0.7 ** np.arange(x.shape[-1] // 2)
        cosine, sine = (
            ops.convert_to_tensor(f(angles), "float32") for f in (np.cos, np.sin)
        )
        a, b = ops.split(x, 2, axis=-1)
        return ops.concatenate([a * cosine - b * sine, b * cosine + a * sine], -1)


class Gamma(layers.Layer):
    def build(self, shape):
        self.gamma = self.add_weight(
            shape=(shape[-1],), initializer=keras.initializers.Constant(0.5)
        )

    def call(self, x):
        return self.gamma * x


class Padder(layers.Layer):
    def call(self, x):
        return ops.pad(x, [[0, 0], [1, 2], [0, 0]])


def model(*stack):
    def make():
        return keras.Sequential([keras.Input(SHAPE), *(f() for f in stack)])

    return make


@pytest.mark.parametrize("kind", [RootMeanSquare, Rotary, Gamma, Padder])
def test_layers_of_other_authors(kind):
    check(model(lambda: layers.Dense(32, "relu"), kind), SHAPE, rtol=0.03)


def test_rotations_leave_positions_less_in_common():
    stack = [lambda: layers.Dense(64), Rotary, layers.GlobalAveragePooling1D]
    check(model(*stack), SHAPE, rtol=0.05)
    x = keras.Input(SHAPE)
    alike = theory.predict(keras.Model(x, Rotary(name="r")(x)), space_correlation=1.0)
    pooled = keras.Model(x, layers.GlobalAveragePooling1D(name="p")(Rotary()(x)))
    found = theory.predict(pooled, space_correlation=1.0)
    assert alike["r"].mean_square == pytest.approx(1.0)
    angles = np.arange(6)[:, None, None] - np.arange(6)[None, :, None]
    expected = np.cos(angles * 0.7 ** np.arange(8)).mean()
    assert found["p"].mean_square == pytest.approx(expected, rel=1e-4)
