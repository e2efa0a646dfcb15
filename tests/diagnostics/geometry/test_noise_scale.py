"""Gradient noise scale, against the gradients of single samples."""

import keras
import numpy as np
import pytest

from fixinit.diagnostics import GradientNoise, gradient_noise_scale

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = (X @ np.float32([[1], [2], [-1]]) + RNG.normal(size=(24, 1))).astype("float32")


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((3,))
    initializer = keras.initializers.GlorotNormal(seed=0)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer)
    return keras.Model(inputs, dense(inputs))


def gradients(model):
    """By hand, for every sample: the loss is (x w - y)^2."""
    x, y = X.astype("float64"), Y.astype("float64")
    return 2 * (x @ model.get_weights()[0].astype("float64") - y) * x


@pytest.mark.every_backend
def test_noise_is_that_of_single_samples(model):
    g = gradients(model)
    found = gradient_noise_scale(model, X, Y, "mse")
    variance = np.trace(np.cov(g, rowvar=False))
    square = np.sum(g.mean(axis=0) ** 2) - variance / len(g)
    assert found.variance == pytest.approx(variance, rel=1e-4)
    assert found.square == pytest.approx(square, rel=1e-4)
    assert found.scale == pytest.approx(variance / square, rel=1e-3)


def test_noise_of_micro_batches_is_that_of_the_paper(model):
    small, big = 4, 24
    g = gradients(model).reshape(-1, small, 3).mean(axis=1)
    of_small, of_big = np.mean(np.sum(g**2, axis=1)), np.sum(g.mean(axis=0) ** 2)
    # McCandlish et al. 2018, appendix A.1.
    square = (big * of_big - small * of_small) / (big - small)
    variance = (of_small - of_big) / (1 / small - 1 / big)
    found = gradient_noise_scale(model, X, Y, "mse", micro_batch_size=small)
    assert found.variance == pytest.approx(variance, rel=1e-4)
    assert found.square == pytest.approx(square, rel=1e-4)


def test_no_signal_is_infinite_noise():
    assert GradientNoise(1.0, -0.1).scale == np.inf
    assert np.isnan(GradientNoise(np.nan, np.nan).scale)


def test_one_micro_batch_has_no_noise(model):
    with pytest.raises(ValueError, match="24 samples with micro_batch_size=13"):
        gradient_noise_scale(model, X, Y, "mse", micro_batch_size=13)
