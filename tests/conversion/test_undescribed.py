"""Layers and operations that no config describes."""

import threading

import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit import _keras
from tests.conversion.helpers import convert, normal, said, still
from tests.marks import slow_on_tensorflow


def blocks(x):
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = x + layers.Dense(x.shape[-1])(y)
    return x


OPERATIONS = {
    "reshape": lambda x: ops.reshape(x, (-1, np.int64(4), np.int32(8))),
    "broadcast_to": lambda x: ops.broadcast_to(x, (np.int64(2), 4, 8)),
    "roll": lambda x: ops.roll(x, np.int64(1), axis=1),
    "clip": lambda x: ops.clip(x, np.float32(-9), np.float32(9)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_with_sizes_of_numpy(name):
    inputs = keras.Input((4, 8), batch_size=2)
    model = keras.Model(inputs, blocks(OPERATIONS[name](inputs)))
    free = convert(model)
    assert free(normal(2, 4, 8)).shape == model.output_shape
    assert free.conversion["num_branches"] == 2


def test_the_given_model_does_not_hold_the_new_one():
    inputs = keras.Input((4, 8))
    y = OPERATIONS["reshape"](inputs)
    operation, _, _ = _keras.origin(y)
    convert(keras.Model(inputs, blocks(y)))
    assert len(_keras.calls_of(operation)) == 1


class Scaled(layers.Layer):
    """Has no config: Keras cannot write a function down."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


class Forgetful(layers.Layer):
    """Its config lacks an argument that has a default."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()


class Matrix(layers.Layer):
    """With weights, and without a config."""

    def __init__(self, units, limit, **kwargs):
        super().__init__(**kwargs)
        self.units, self.limit = units, limit

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], self.units))

    def call(self, x):
        return ops.minimum(x @ self.matrix, self.limit)


@pytest.mark.parametrize(
    "layer, expected", [(Scaled(lambda x: 3 * x), 3.0), (Forgetful(2.0), 2.0)]
)
def test_layers_without_weights_are_copied(layer, expected):
    inputs = keras.Input((8,))
    free = convert(keras.Model(inputs, blocks(layer(inputs))))
    y = ops.convert_to_numpy(free(np.ones((1, 8))))
    np.testing.assert_allclose(y, np.full((1, 8), expected))


@slow_on_tensorflow
@pytest.mark.every_backend
def test_layers_with_weights_are_copied_with_them_and_named():
    inputs = keras.Input((8,))
    old = Matrix(8, np.ones(8, "float32"), name="matrix")
    model = keras.Model(inputs, blocks(old(inputs)))
    free = convert(model)
    new = free.get_layer("matrix")
    assert new is not old and new.matrix is not old.matrix
    np.testing.assert_array_equal(
        *(ops.convert_to_numpy(layer.matrix) for layer in (old, new))
    )
    assert not still(free)
    assert "do not describe" in (text := said(model)) and "matrix" in text


class Drop(layers.Layer):
    """Stochastic depth as it is often written: without a config."""

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.generator = rate, keras.random.SeedGenerator(1)

    def call(self, x, training=False):
        if not training:
            return x
        shape = (ops.shape(x)[0], 1)
        kept = ops.floor(
            1 - self.rate + keras.random.uniform(shape, seed=self.generator)
        )
        return x / (1 - self.rate) * kept


@pytest.mark.every_backend
def test_layers_with_generators_of_seeds_are_copied():
    inputs = keras.Input((8,))
    y = layers.Dense(8)(layers.BatchNormalization()(inputs))
    free = convert(keras.Model(inputs, inputs + Drop(0.5, name="drop")(y)))
    assert free.conversion["num_branches"] == 1
    assert free.get_layer("drop").generator.state in free.non_trainable_variables


def test_initializers_without_a_config_do_no_harm():
    inputs = keras.Input((8,))
    x = layers.Dense(8, kernel_initializer=lambda shape, dtype=None: ops.ones(shape))
    free = convert(keras.Model(inputs, blocks(x(inputs))))
    assert free.conversion["num_branches"] == 2


def test_what_cannot_be_copied_is_refused_by_name():
    class Locked(layers.Layer):
        def __init__(self, lock, **kwargs):
            super().__init__(**kwargs)
            self.lock = lock

        def call(self, x):
            return x

    inputs = keras.Input((8,))
    model = keras.Model(inputs, blocks(Locked(threading.Lock(), name="own")(inputs)))
    with pytest.raises(ValueError, match="Layer `own` of type Locked.*get_config"):
        convert(model)
