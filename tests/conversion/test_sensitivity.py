import keras
import pytest
from keras import layers

from fixinit.conversion.sensitivity import sensitivity
from tests.conversion.helpers import said
from tests.marks import on_torch


def dense(activation=None):
    return layers.Dense(16, activation, kernel_initializer="he_normal")


def test_homogeneous_networks_double():
    x = inputs = keras.Input((16,))
    for _ in range(10):
        x = x + dense()(dense("relu")(x))
    growth, _ = sensitivity(keras.Model(inputs, x)).largest
    assert growth == pytest.approx(2)


@pytest.mark.parametrize("depth", [1, 3])
def test_products_of_two_ways_multiply_powers(depth):
    x = inputs = keras.Input((16,))
    for _ in range(depth):
        x = layers.Multiply()([dense()(x), dense()(x)])
    growth, name = sensitivity(keras.Model(inputs, x)).largest
    assert growth == pytest.approx(2**2**depth)
    assert name.startswith("multiply")


def test_data_is_read_at_its_size():
    """Of whatever pixels are scaled to, the stem reads more."""
    inputs = keras.Input((16,))
    stem = dense("silu")
    model = keras.Model(inputs, stem(layers.Rescaling(1 / 255)(inputs)))
    few, _ = sensitivity(model).largest
    standardized, _ = sensitivity(model, [stem]).largest
    # Near zero a SiLU is x / 2; at 1 it does more to larger signals.
    assert few == pytest.approx(2, abs=1e-3)
    assert 2.1 < standardized < 3


@on_torch
@pytest.mark.parametrize(
    ("scheme", "warns"), [("scaled_residual", True), ("fixup", False)]
)
@pytest.mark.parametrize("reads", ["numbers", "words"])
def test_products_of_weights_along_the_stream_are_named(reads, scheme, warns):
    """SwiGLU: what is larger than meant explodes before the network ends."""
    x = inputs = keras.Input((64,))
    if reads == "words":
        inputs = keras.Input((5,), dtype="int32")
        x = layers.Embedding(100, 64)(inputs)
    for _ in range(8):
        y = layers.RMSNormalization()(x)
        x = x + layers.Dense(64)(layers.Dense(128, "silu")(y) * layers.Dense(128)(y))
    assert (
        "Signals may vanish or explode" in said(keras.Model(inputs, x), scheme)
    ) is warns
