"""Rules for reductions, and for arrays of constants, against what is run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import on_torch, rest_on_torch
from tests.theory.measuring import check, he

layers, ops = keras.layers, keras.ops


def of(function, filters=64):
    def make():
        x = keras.Input((8, 8, 16))
        return keras.Model(x, function(he(filters, activation="relu")()(x)))

    return make


@rest_on_torch(
    "function",
    [
        lambda x: ops.mean(x, axis=1),
        lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
        lambda x: ops.mean(x, axis=-1),
        lambda x: ops.mean(x, axis=(2, 3), keepdims=True),
        lambda x: ops.sum(x, axis=2),
        lambda x: ops.sum(x, axis=(1, 2)),
        lambda x: ops.max(x, axis=1),
        lambda x: ops.min(he(padding="valid")()(x), axis=(1, 2)),
        lambda x: ops.max(he()()(x), axis=-1, keepdims=True),
        lambda x: ops.var(x, axis=(1, 2)),
        lambda x: ops.std(x, axis=(1, 2), keepdims=True),
    ],
    quick=4,
)
def test_moments_of_reductions(function):
    check(of(function), (8, 8, 16), 0.04)


def test_normalization_by_hand():
    def normalized(x):
        mean = ops.mean(x, axis=-1, keepdims=True)
        deviation = ops.std(x, axis=-1, keepdims=True)
        return (x - mean) / (deviation + 1e-3)

    check(of(normalized, 512), (8, 8, 16), 0.05, seeds=2)


@on_torch
def test_spatial_attention():
    def attended(x):
        both = [ops.mean(x, -1, keepdims=True), ops.max(x, -1, keepdims=True)]
        gate = layers.Conv2D(1, 7, padding="same", activation="sigmoid")
        return x * gate(layers.concatenate(both))

    check(of(attended), (8, 8, 16), 0.05, seeds=12)


_TABLE = np.random.default_rng(0).standard_normal((8, 1, 64)).astype("float32")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * _TABLE + 2 * _TABLE[:, 0, 0][:, None, None],
        lambda x: x - np.arange(64, dtype="float32") / 64,
        lambda x: x / (1 + np.abs(_TABLE)),
        lambda x: ops.add(np.ones((1, 8, 8, 64), "float32"), x),
        lambda x: layers.AveragePooling2D(3, 1)(x * _TABLE[None]),
    ],
)
def test_arrays_of_constants(function):
    check(of(function), (8, 8, 16), 0.05)


def test_large_tables_have_the_size_that_they_have():
    table = np.random.default_rng(0).normal(1.0, 2.0, (96, 96, 4)).astype("float32")
    inputs = keras.Input((96, 96, 4))
    row = theory.predict(keras.Model(inputs, inputs + table)).layers[-1]
    assert row.mean_square == pytest.approx(1 + np.mean(table**2), rel=1e-3)
    expected = 1 + np.mean(np.var(table, axis=(0, 1)))
    assert row.variance == pytest.approx(expected, rel=0.02)


def test_gradients_of_an_average():
    model = of(lambda x: ops.mean(x, axis=(1, 3)))()
    gradient = theory.predict(model).layers[1].gradient
    assert gradient == pytest.approx(1 / (8 * 64) ** 2)


def test_a_reduction_over_the_batch_is_refused():
    with pytest.raises(theory.NoRuleError, match="along the batch"):
        theory.predict(of(lambda x: ops.mean(x, axis=0))())
