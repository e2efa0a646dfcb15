import numpy as np
import pytest
from keras import ops

import fixinit
from recipes.regularizing_residuals import measurements
from recipes.regularizing_residuals.networks import blocks


@pytest.fixture
def model():
    scheme = fixinit.schemes.BatchNorm()
    return fixinit.models.ResidualMLP(
        3, 8, scheme=scheme, input_shape=(4,), seed=0, stacked=False
    )


X = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")


def test_without_a_block_it_is_the_network_of_the_others(model):
    whole = ops.convert_to_numpy(measurements.without(model, X))
    np.testing.assert_allclose(whole, ops.convert_to_numpy(model(X)), rtol=1e-5)
    *_, last = blocks(model)
    found = measurements.without(model, X, last)
    last.merge.branch_scale = 0.0
    expected = ops.convert_to_numpy(model(X))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-5)


def test_ratios_are_those_of_branch_and_shortcut(model):
    before = measurements.branch_ratios(model, X)
    assert len(before) == 3
    first = blocks(model)[0]
    first.merge.branch_scale = 2.0
    after = measurements.branch_ratios(model, X)
    assert after[0] == pytest.approx(2 * before[0], rel=1e-4)


def test_noise_falls_with_the_root_of_the_batch_and_leaves_the_model_as_it_is(model):
    weights = model.get_weights()
    noise = measurements.noise(model, X, seed=0)
    # Statistics of 128 samples: one over the root of it, times a number of order one.
    assert 0.2 / np.sqrt(128) < noise < 10 / np.sqrt(128)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    fixup = fixinit.models.ResidualMLP(3, 8, input_shape=(4,), seed=0, stacked=False)
    fixup.get_layer("head").kernel.assign(np.ones((8, 10)) * np.arange(10))
    assert measurements.noise(fixup, X, seed=0) < 1e-6
