"""Runs of one compiled network; `test_trainer.py` tests what a comparison adds."""

import math

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics.report import loss_and_gradients
from recipes.common.data.datasets import Dataset
from recipes.common.training.runs import Runs
from tests.marks import on_torch


def dataset():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((96, 8)).astype("float32")
    y = (x @ rng.standard_normal((8, 3))).argmax(1).astype("int32")
    return Dataset("points", x[:64], y[:64], x[64:], y[64:], 3)


def builder(scheme):
    def build(seed):
        return fixinit.models.ResidualMLP(
            1, 8, input_shape=(8,), classes=3, seed=seed, scheme=scheme
        )

    return build


@pytest.fixture(scope="module")
def runs():
    return Runs(builder("scaled_residual"), dataset(), batch_size=16, seed=0)


@pytest.mark.slow
@pytest.mark.every_backend
def test_a_run_does_not_depend_on_those_before(runs):
    first, diverged = runs.run(0.05, seed=0, epochs=4)
    runs.run(0.5, seed=1, epochs=1)
    again, _ = runs.run(0.05, seed=0, epochs=4)
    losses, others = ([e["test_loss"] for e in run] for run in (first, again))
    assert losses == others and diverged is None
    assert losses[-1] < losses[0] < 1.5 * math.log(3)


@pytest.mark.every_backend
def test_divergence_ends_a_run_and_not_the_next(runs):
    epochs, diverged = runs.run(1e9, seed=0, epochs=3)
    assert len(epochs) < 3 and "not finite" in diverged["reason"]
    epochs, diverged = runs.run(0.05, seed=0, epochs=1)
    assert len(epochs) == 1 and diverged is None


def test_test_samples_can_be_left_out(runs):
    (with_tests,), _ = runs.run(0.05, seed=0, epochs=1)
    (without,), _ = runs.run(0.05, seed=0, epochs=1, tests=False)
    assert without["test_loss"] is None is without["test_accuracy"]
    assert without["train_loss"] == with_tests["train_loss"]


@on_torch
@pytest.mark.parametrize(
    ("scheme", "expected"), [("fixup", 0.1), ("skip_init", 1.0), (None, 1.0)]
)
def test_scalars_train_by_the_rules_of_the_scheme(scheme, expected):
    """One step of plain gradient descent, by the gradient that it was taken with."""
    data = dataset()
    runs = Runs(
        builder(fixinit.schemes.SkipInit(0.5)),
        data,
        batch_size=64,
        seed=0,
        optimizer=keras.optimizers.SGD(1.0),
        scheme=scheme,
    )
    runs.reset(0.01, 0)
    model = runs.model
    x, y = data.x_train, data.y_train
    gradients = loss_and_gradients(model, runs.loss)(x, y)[1]
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    runs.fit(1, seed=0, tests=False)
    for variable, old, gradient in zip(
        model.trainable_variables, before, gradients, strict=True
    ):
        rate = 0.01 * (expected if "scalar" in variable.path else 1.0)
        moved = old - keras.ops.convert_to_numpy(variable)
        expected_move = rate * keras.ops.convert_to_numpy(gradient)
        np.testing.assert_allclose(moved, expected_move, rtol=1e-3, atol=1e-7)
