"""Infinities that a network makes on purpose, and those that it overflows to."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit.diagnostics import diagnose
from tests.marks import on_torch, slow_on_tensorflow

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 8, 8, 3)).astype("float32")
VECTORS = RNG.normal(size=(16, 6)).astype("float32")


def padded(value, pool, blocks=4):
    """A residual network whose stem pads in front of its pooling."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", kernel_initializer="he_normal")(x)
    x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=value)
    x = pool(x)
    for _ in range(blocks):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = x + layers.Conv2D(8, 3, padding="same", kernel_initializer="he_normal")(y)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.slow
@pytest.mark.every_backend
def test_padding_that_pooling_takes_away():
    found = diagnose(padded(-np.inf, layers.MaxPooling2D(3, 2)), IMAGES)
    assert found.verdict.kind != "not_finite"
    pad = next(row for row in found.layers if row.kind == "Pad")
    plain = diagnose(padded(0.0, layers.MaxPooling2D(3, 2)), IMAGES)
    zeros = next(row for row in plain.layers if row.kind == "Pad")
    assert pad.mean_square == pytest.approx(zeros.mean_square, rel=1e-5)
    assert pad.variance == pytest.approx(zeros.variance, rel=1e-5)


@on_torch
@pytest.mark.parametrize(
    "value, pool",
    [
        (-np.inf, layers.AveragePooling2D(3, 2)),
        (np.inf, layers.MaxPooling2D(3, 2)),
        (-np.inf, layers.MaxPooling2D(1, 1)),
        (np.nan, layers.MaxPooling2D(3, 2)),
    ],
)
def test_padding_that_goes_on(value, pool):
    found = diagnose(padded(value, pool), IMAGES)
    assert found.verdict.kind == "not_finite"


@slow_on_tensorflow
@pytest.mark.every_backend
def test_masks_in_front_of_a_softmax():
    x = inputs = keras.Input((5, 8))
    query, key = layers.Dense(8)(x), layers.Dense(8)(x)
    scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) / 8**0.5
    mask = np.triu(np.full((5, 5), -np.inf, "float32"), 1)
    weights = ops.softmax(ops.reshape(scores + mask, (-1, 5, 5)))
    model = keras.Model(inputs, layers.Dense(2)(ops.matmul(weights, x)))
    found = diagnose(model, RNG.normal(size=(4, 5, 8)).astype("float32"))
    assert found.verdict.kind != "not_finite"


@on_torch
@pytest.mark.parametrize("last", ["tanh", "sigmoid"])
def test_what_has_overflowed_is_told_where_it_is_bounded_again(last):
    x = inputs = keras.Input((6,))
    large = keras.initializers.Constant(1e13)
    for index in range(3):
        x = layers.Dense(6, kernel_initializer=large, name=f"dense{index}")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Activation(last)(x)))
    verdict = diagnose(model, np.abs(VECTORS)).verdict
    assert (verdict.kind, verdict.where) == ("not_finite", "dense2")


def test_infinities_at_the_end_of_a_network():
    inputs = keras.Input((6,))
    x = layers.Dense(4, name="scores")(inputs)
    model = keras.Model(inputs, ops.where(x > 0, x, -np.inf))
    assert diagnose(model, VECTORS).verdict.kind == "not_finite"
