import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from recipes.regularizing_residuals import residual_noise
from recipes.regularizing_residuals.residual_noise import (
    DisturbedFixup,
    FrozenBatchNormalization,
    GhostBatchNormalization,
    NoisyBatchNorm,
    calibrate,
    two_branch_network,
)


def numpy(x):
    return ops.convert_to_numpy(x)


def inputs(size=32):
    return np.random.default_rng(0).normal(2, 3, size=(size, 4)).astype("float32")


@pytest.mark.every_backend
def test_ghost_of_the_whole_batch_is_batch_normalization():
    x, options = inputs(), {"momentum": 0.9, "epsilon": 1e-5}
    ghost = GhostBatchNormalization(32, **options)
    usual = keras.layers.BatchNormalization(**options)
    for training in (True, False):
        found, expected = (numpy(f(x, training=training)) for f in (ghost, usual))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for found, expected in zip(ghost.weights, usual.weights, strict=True):
        np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-5)


def test_ghosts_are_normalized_one_by_one():
    found = numpy(GhostBatchNormalization(8)(inputs(), training=True))
    groups = found.reshape(4, 8, 4)
    np.testing.assert_allclose(groups.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(groups.var(axis=1), 1, atol=1e-2)


def test_frozen_statistics_are_those_of_the_calibration():
    scheme = NoisyBatchNorm(size=0)
    model = fixinit.models.ResidualMLP(
        2, 8, scheme=scheme, input_shape=(4,), seed=0, stacked=False
    )
    x = inputs(64)
    calibrate(model, x)
    usual = fixinit.models.ResidualMLP(
        2, 8, scheme="batch_norm", input_shape=(4,), seed=0, stacked=False
    )
    expected = numpy(usual(x, training=True))
    np.testing.assert_allclose(numpy(model(x, training=True)), expected, atol=1e-4)
    # The company that a sample is in changes nothing.
    alone = numpy(model(x[:1], training=True))
    np.testing.assert_allclose(alone, expected[:1], atol=1e-4)
    frozen = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, FrozenBatchNormalization)
    ]
    assert len(frozen) == 5 and not any(layer.calibrating for layer in frozen)


@pytest.mark.parametrize("noise", residual_noise.NOISES)
def test_later_branches_are_disturbed_more(noise):
    scheme = DisturbedFixup(noise=noise, last=0.6, seed=3)
    model = fixinit.models.ResidualMLP(
        4, 8, scheme=scheme, input_shape=(4,), seed=0, stacked=False
    )
    found = [layer.branch[-1] for layer in model.layers if hasattr(layer, "branch")]
    assert [layer.survival_probability for layer in found] == pytest.approx(
        [0.9, 0.8, 0.7, 0.6]
    )
    assert [layer.seed for layer in found] == [3, 4, 5, 6]


def test_two_branches_start_alike_with_and_without_noise():
    even, shaken = (two_branch_network(3, 8, (4,), 5, s, seed=1) for s in (False, True))
    for a, b in zip(even.get_weights(), shaken.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # As many kernel weights as one branch of the whole inner width has.
    kernels = [w for w in even.get_weights() if w.ndim == 2]
    assert sum(w.size for w in kernels) == 4 * 8 + 3 * 2 * 8 * 8 + 8 * 5
    drawn = [w for w in kernels if w.any()]
    assert len({w.ravel()[0] for w in drawn}) == len(drawn) == 7
