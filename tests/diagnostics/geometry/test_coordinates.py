"""Coordinate check, against steps by hand."""

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import coordinate_check
from tests.marks import on_torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = RNG.normal(size=(8, 1)).astype("float32")


def make_model(width, compiled=None):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(
                width, use_bias=False, kernel_initializer=keras.initializers.HeNormal(1)
            ),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer=keras.initializers.HeNormal(2)
            ),
        ]
    )
    if compiled:
        model.compile(compiled, "mse")
    return model


@pytest.mark.every_backend
def test_sizes_and_updates_are_those_of_a_step_by_hand(untouched):
    models = [make_model(width, keras.optimizers.SGD(0.1)) for width in (8, 32)]
    given = iter(models)
    with untouched(models[0]):
        found = coordinate_check(lambda width: next(given), (8, 32), X, Y, steps=1)
    assert len(found.names) == 2
    for i, model in enumerate(models):
        a, b = (w.astype("float64") for w in model.get_weights())
        error = 2 * (X @ a @ b - Y) / len(X)
        moved = a - 0.1 * X.T @ error @ b.T, b - 0.1 * (X @ a).T @ error
        before, after = (
            [X @ a, X @ a @ b],
            [X @ moved[0], X @ moved[0] @ moved[1]],
        )
        for step, values in enumerate((before, after)):
            expected = [np.abs(h).mean() for h in values]
            assert found.sizes[i, step] == pytest.approx(expected, rel=1e-4)
        updates = [np.abs(h - h0).mean() for h0, h in zip(before, after, strict=True)]
        assert found.updates[i, 0] == pytest.approx(updates, rel=1e-3)


def test_adam_moves_outputs_in_proportion_to_the_width():
    widths = (64, 256, 1024)
    rate = keras.optimizers.Adam(1e-4)
    found = coordinate_check(make_model, widths, X, Y, 1, rate, "mse")
    # Of a kernel whose entries all move by the rate: its inputs are as many as wide.
    # Means of |h| over 64 units scatter by sqrt(pi / 2 - 1) / 8, over a factor of 16.
    scatter = np.sqrt(np.pi / 2 - 1) / np.sqrt(64) / np.log(16)
    assert found.exponents[0, 0] == pytest.approx(0, abs=3 * scatter)
    assert 0.4 < found.exponents[0, 1] < 1.1


@on_torch
def test_stacks_are_seen_as_a_whole():
    def make(width):
        return fixinit.models.ResidualMLP(
            2, width, scheme="rezero", input_shape=(4,), stacked=True, seed=0
        )

    found = coordinate_check(make, (8, 16), X, np.arange(8), 1, "sgd")
    assert len(found.names) == 3 and np.isfinite(found.sizes).all()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="two widths or more"):
        coordinate_check(make_model, (8, 8), X, Y, optimizer="sgd")
    with pytest.raises(ValueError, match="`optimizer` must be.*width 8"):
        coordinate_check(make_model, (8, 16), X, Y, loss="mse")
