"""Measures of the whole program that `diagnose` is asked for."""

import keras
import numpy as np
import pytest

from fixinit.diagnostics import diagnose, gradient_noise_scale, loss_curvature
from tests.marks import on_torch, slow_on_tensorflow

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(16, n)).astype("float32") for n in (3, 2))
WHOLE = ("noise_scale", "curvature")


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((3,))
    initializer = keras.initializers.GlorotNormal(seed=0)
    h = keras.layers.Dense(4, "tanh", kernel_initializer=initializer)(inputs)
    initializer = keras.initializers.GlorotNormal(seed=1)
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=initializer)(h))


@slow_on_tensorflow
@pytest.mark.every_backend
def test_measures_are_those_of_the_functions(model):
    sgd = keras.optimizers.SGD(0.25)
    found = diagnose(model, X, Y, loss="mse", optimizer=sgd, measures=WHOLE)
    noise = gradient_noise_scale(model, X, Y, "mse")
    curvature = loss_curvature(model, X, Y, "mse")
    assert found.asked["noise_scale"] == pytest.approx(noise.scale, rel=1e-5)
    assert found.asked["largest_eigenvalue"] == pytest.approx(curvature.largest)
    assert found.asked["overshoot"] == pytest.approx(0.125 * curvature.largest)
    text = " ".join(str(found).split())
    assert "gradient noise scale" in text and "overshoot" in text


def test_without_an_optimizer_there_is_no_overshoot(model):
    found = diagnose(model, X, Y, loss="mse", measures=("curvature",))
    assert set(found.asked) == {"largest_eigenvalue"}


@on_torch
def test_the_loss_is_that_of_fit_with_weights(model):
    model.compile("sgd", "mse")
    found = [
        diagnose(model, X, Y, sample_weight=w, measures=("curvature",))
        for w in (None, 4 * np.ones(16, "float32"))
    ]
    first, four = (d.asked["largest_eigenvalue"] for d in found)
    assert four == pytest.approx(4 * first, rel=1e-4)


def test_without_targets_there_is_nothing_to_measure(model):
    with pytest.raises(ValueError, match="noise_scale, curvature.*y=None"):
        diagnose(model, X, measures=WHOLE)
    with pytest.raises(ValueError, match="two samples"):
        diagnose(model, X[:1], Y[:1], loss="mse", measures=WHOLE)


def test_broken_weights_give_nan():
    layer = keras.layers.Dense(2, kernel_initializer="zeros")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(np.full((3, 2), np.nan))
    found = diagnose(model, X, Y, loss="mse", measures=WHOLE)
    assert all(np.isnan(value) for value in found.asked.values())
