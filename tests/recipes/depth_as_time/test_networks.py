import numpy as np
import pytest
from keras import ops

from recipes.common.data import datasets
from recipes.common.training import families
from recipes.depth_as_time.__main__ import Settings
from recipes.depth_as_time.networks import (
    build,
    deepened,
    interpolated,
    roughness,
    smooth,
    stacked_weights,
)


def test_weights_that_are_linear_in_time_stay_so():
    weights = np.arange(4.0).reshape(4, 1, 1) * np.ones((4, 2, 3))
    doubled = interpolated(weights, 2)
    # Old centres 0.5 to 3.5 of 4, new ones 0.25 to 3.75 in the same time.
    expected = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    np.testing.assert_allclose(doubled[:, 0, 0], expected)
    tripled = interpolated(weights, 3)
    # Every third centre is an old one.
    np.testing.assert_allclose(tripled[1::3], weights)


def test_smooth_weights_keep_the_variance():
    weights = np.random.default_rng(0).normal(size=(64, 100, 100))
    found = smooth(weights)
    # Five standard deviations of the variance of n normal numbers.
    bound = 5 * np.sqrt(2 / 10_000)
    assert np.abs(found.var(axis=(1, 2)) - 1).max() < bound
    # Steps of a turn by pi / 2 in L steps.
    assert roughness([found]) == pytest.approx(np.pi / 2 / 64, rel=0.02)
    assert roughness([weights]) == pytest.approx(np.sqrt(2), rel=0.02)


def test_blocks_that_are_alike_are_an_autonomous_equation():
    """Equal blocks stay equal: twice the depth is Euler's method with half the step."""
    settings = Settings(units=8)
    data = families.get("residual_mlp").adapt(datasets.load("digits"))
    model = build(settings, data, "inverse", 4)
    for variable in stacked_weights(model):
        value = ops.convert_to_numpy(variable)
        variable.assign(np.repeat(value[:1], 4, axis=0))
    deeper = deepened(settings, data, "inverse", model, 2)
    found = [ops.convert_to_numpy(v) for v in stacked_weights(deeper)]
    assert all(len(value) == 8 and (value == value[0]).all() for value in found)
    x = data.x_test[:5]
    kernels = [v for v in found if v.ndim == 3]
    h = x @ ops.convert_to_numpy(model.layers[1].kernel)
    for _ in range(8):
        inner = np.maximum(h, 0) @ kernels[0][0]
        h = h + np.maximum(inner, 0) @ kernels[1][0] / 8
    expected = np.maximum(h, 0) @ ops.convert_to_numpy(model.get_layer("head").kernel)
    logits = ops.convert_to_numpy(deeper(x))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
