"""Predictions of whole models."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit import theory
from tests.marks import on_torch

layers = keras.layers


@on_torch
def test_deep_post_activation_blocks_that_start_at_zero_stay_as_they_are():
    def make():
        return fixinit.models.CifarResNet(
            20, scheme="fixup", input_shape=(8, 8, 3), seed=0
        )

    prediction = theory.predict(make())
    squares = [x.mean_square for x in prediction if x.name.startswith("stage1")]
    assert len(set(np.round(squares[-1:], 9))) == 1
    assert prediction.layers[-1].mean_square == 0


def test_given_statistics_of_the_inputs():
    model = keras.Sequential([keras.Input((6, 6, 4)), layers.GlobalAveragePooling2D()])
    row = theory.predict(
        model, 2.0, 3.0, input_correlation=0.2, space_correlation=0.5
    ).layers[-1]
    assert row.mean == pytest.approx(2)
    # One pixel in 36 is the same, the others are correlated by a half.
    assert row.mean_square == pytest.approx(4 + 3 * (1 / 36 + 0.5 * 35 / 36))
    assert row.variance == pytest.approx(3 * (1 / 36 + 0.5 * 35 / 36 - 0.2))


@pytest.mark.every_backend
def test_nothing_changes_in_the_model():
    model = fixinit.models.ResidualMLP(3, units=8, scheme="batch_norm", seed=0)
    before = [keras.ops.convert_to_numpy(w) for w in model.weights]
    config = model.to_json()
    theory.predict(model, training=True)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)
    assert model.to_json() == config


def test_a_table_and_a_dict():
    prediction = theory.predict(fixinit.models.ResidualMLP(1, units=8))
    assert "head" in prediction and len(prediction) == len(list(prediction))
    table = str(prediction).splitlines()
    assert len(table) == len(prediction) + 1 and "variance" in table[0]
    first = prediction.to_dict()["layers"][0]
    assert {"name", "kind", "mean", "variance", "mean_square"} < set(first)


def test_a_name_that_no_call_has_suggests_near_ones():
    prediction = theory.predict(fixinit.models.ResidualMLP(1, units=8))
    with pytest.raises(KeyError, match=r"'block1/merg'.*'block1/merge'"):
        prediction["block1/merg"]


class Unknown(layers.Layer):
    def call(self, x):
        return keras.ops.sort(x, -1)


class Sparser(layers.Dense):
    def call(self, x):
        return keras.ops.sort(x) * 0


class Shifted(layers.Layer):
    """Adds a table of its own, of which it takes a part, and turns the image."""

    def build(self, shape):
        self.table = self.add_weight(shape=(9, shape[-1]), initializer="normal")

    def call(self, x):
        rows = keras.ops.flip(self.table[: x.shape[1], :], axis=0)
        return keras.ops.swapaxes(x + 20 * keras.ops.expand_dims(rows, 1), 1, 2)


@pytest.mark.every_backend
def test_layers_of_ones_own_are_looked_into():
    layer = Shifted(name="shifted")
    model = keras.Sequential([keras.Input((6, 7, 32)), layer, layers.Flatten()])
    prediction = theory.predict(model)
    table = keras.ops.convert_to_numpy(layer.table)[:6]
    expected = 1 + 400 * np.mean(np.square(table))
    assert prediction["shifted"].mean_square == pytest.approx(expected, rel=1e-4)
    spread = 1 + 400 * np.mean(np.var(table, axis=0))
    assert prediction["shifted"].variance == pytest.approx(spread, rel=1e-4)
    assert not prediction.measured


def my_activation(x):
    return keras.ops.flip(x, -1)


@pytest.mark.parametrize(
    "layer, message",
    [
        (
            lambda: Unknown(name="u"),
            r"Unknown `u`.*@fixinit.theory.register\(Unknown\)",
        ),
        (lambda: Sparser(8), r"register\(Sparser\)"),
        (lambda: layers.Dense(8, my_activation), "No variance rule for the activation"),
        (
            lambda: layers.Dense(8, kernel_initializer=lambda s, dtype: np.zeros(s)),
            "initializer",
        ),
        (lambda: layers.Softmax(axis=1), "Softmax"),
        (lambda: layers.BatchNormalization(axis=1), "last axis"),
    ],
)
def test_what_is_not_known_is_refused(layer, message):
    model = keras.Sequential([keras.Input((6, 6, 8)), layer()])
    with pytest.raises(theory.NoRuleError, match=message):
        theory.predict(model)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_variance": -1.0}, "`input_variance` must be"),
        ({"input_mean": "0"}, "`input_mean` must be"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"input_correlation": 1.5}, "`input_correlation` must be"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    with pytest.raises(ValueError, match=message):
        theory.predict(model, **options)


def test_sizes_must_be_known():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="`input_shape`.*fixed size"):
        theory.predict(model)
