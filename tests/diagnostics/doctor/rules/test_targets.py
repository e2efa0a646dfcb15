import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


@pytest.mark.parametrize("loss", ["mse", "mae", keras.losses.Huber()])
def test_large_targets(loss):
    y = 200 * NUMBERS + 1000
    model = net(layers.Dense(1, name="head"), loss=loss)
    _, _, after = mended("target_scale", model, X, y, severity="error", where="head")
    assert after.std() == pytest.approx(1, rel=1e-3)
    near = 5 * NUMBERS + 3
    assert not found("target_scale", net(layers.Dense(1), loss=loss), X, near)


def test_large_targets_that_the_optimizer_reaches_are_worth_a_note():
    y = 20 * NUMBERS + 40
    head = layers.Dense(1, name="head")
    model = net(head, hidden=64, loss="mse", optimizer=keras.optimizers.Adam(0.01))
    (finding,) = found("target_scale", model, X, y)
    assert finding.severity == "note"
    # A hundredth of the rate takes a hundred times as many steps.
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    assert "target_scale" in claims(model, X, y)
    # Steps of SGD are as large as the targets.
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse")
    assert "target_scale" not in claims(model, X, y)
    assert "target_scale" in claims(model, X, 10 * y)


def test_targets_that_are_all_the_same():
    def targets(value):
        y = np.full_like(NUMBERS, value)
        return found("target_scale", net(layers.Dense(1), loss="mse"), X, y)

    assert targets(3.0)[0].severity == "warning"
    assert not targets(0.0)


def test_large_targets_of_which_a_column_is_constant():
    y = np.concatenate([200 * NUMBERS, np.full_like(NUMBERS, 50)], axis=1)
    _, _, after = mended("target_scale", net(layers.Dense(2), loss="mse"), X, y)
    assert np.isfinite(after).all()


def test_large_targets_of_one_output_of_two():
    inputs = keras.Input((6,))
    h = layers.Dense(8, "relu")(inputs)
    outputs = {name: layers.Dense(1, name=name)(h) for name in ("small", "large")}
    model = compiled(keras.Model(inputs, outputs), "mse")
    y = {"small": NUMBERS, "large": 300 * NUMBERS}
    (finding,) = found("target_scale", model, X, y)
    assert finding.where == "large"
    mended("target_scale", model, X, y)
