import keras
import pytest
from keras import layers

from fixinit.conversion.sensitivity import sensitivity


def dense(activation=None):
    return layers.Dense(16, activation, kernel_initializer="he_normal")


def test_homogeneous_networks_have_power_one():
    x = inputs = keras.Input((16,))
    for _ in range(10):
        x = x + dense()(dense("relu")(x))
    power, _ = sensitivity(keras.Model(inputs, x))
    assert power == pytest.approx(1)


@pytest.mark.parametrize("depth", [1, 3])
def test_products_of_two_ways_multiply_powers(depth):
    x = inputs = keras.Input((16,))
    for _ in range(depth):
        x = layers.Multiply()([dense()(x), dense()(x)])
    power, name = sensitivity(keras.Model(inputs, x))
    assert power == pytest.approx(2**depth)
    assert name.startswith("multiply")


def test_data_is_read_at_its_size():
    """Of whatever pixels are scaled to, the stem reads 1 % more."""
    inputs = keras.Input((16,))
    stem = dense("silu")
    model = keras.Model(inputs, stem(layers.Rescaling(1 / 255)(inputs)))
    few, _ = sensitivity(model)
    standardized, _ = sensitivity(model, [stem])
    # Near zero a SiLU is x / 2; at 1 it does more to larger signals.
    assert few == pytest.approx(1, abs=1e-3)
    assert 1.1 < standardized < 1.5
