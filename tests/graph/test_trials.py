"""Layers of somebody else's are tried out, and stay as they are."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit.graph.trials import tried

pytestmark = pytest.mark.every_backend


class Counts(layers.Layer):
    """Draws random numbers, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)
        self.factor = self.add_weight(shape=(), initializer="ones")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign(self.count + 1)
        return self.factor * x, x + keras.random.normal(x.shape, seed=self.seeds)


def test_values_are_others_and_states_stay():
    layer, x = Counts(), np.ones((2, 3), "float32")
    before = [ops.convert_to_numpy(v).copy() for v in layer.variables]
    first, noise = tried(lambda: layer(x), [(layer.factor, 5.0)])
    np.testing.assert_array_equal(first, 5 * x)
    again, same = tried(lambda: layer(x))
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(noise, same)
    for old, variable in zip(before, layer.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(variable))


def test_what_raises_gives_nothing():
    assert tried(lambda: layers.Dense(2)("no tensor")) is None
