import dataclasses
import math

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import EffectiveDepth, effective_depth
from fixinit.diagnostics.paths.depth import output_shares
from tests.marks import on_torch

X = np.random.default_rng(0).normal(size=(256, 16)).astype("float32")


def mlp(scheme, count=4, units=256, **kwargs):
    options = {"input_shape": (16,), "seed": 0} | kwargs
    return fixinit.models.ResidualMLP(count, units, scheme=scheme, **options)


def factors(*scales):
    """Blocks x + scale * x."""
    x = inputs = keras.Input((16,))
    for scale in scales:
        branch = keras.layers.Dense(
            16, use_bias=False, kernel_initializer=keras.initializers.Identity(scale)
        )
        x = keras.layers.Add()([x, branch(x)])
    return keras.Model(inputs, x)


def test_shares_of_a_network_that_is_known():
    found = effective_depth(factors(1.0, 3.0), X)
    np.testing.assert_allclose(found.share, [1 / 2, 3 / 4], rtol=1e-5)
    np.testing.assert_allclose(found.variance_ratio, [1 / 4, 9 / 16], rtol=1e-5)
    np.testing.assert_allclose(found.output_share, [1 / 8, 1 / 8, 3 / 4], rtol=1e-5)
    np.testing.assert_allclose(found.gradient_share, [1 / 2, 3 / 4], rtol=1e-5)
    assert found.depth == pytest.approx(1.25, rel=1e-5)
    assert found.gradient_depth == pytest.approx(1.25, rel=1e-5)


def test_branches_that_take_variance_away_count_as_negative():
    found = effective_depth(factors(-0.5), X, gradient=False)
    np.testing.assert_allclose(found.share, [-1.0], rtol=1e-5)
    np.testing.assert_allclose(found.output_share, [2.0, -1.0], rtol=1e-5)


def test_under_batch_norm_shares_fall_as_one_over_l():
    model = mlp("batch_norm", count=12, stacked=True)
    found = effective_depth(model, X, training=True, gradient=False)
    inverse = 1 / found.share
    # 1 / share = l + constant. The mean of 256 units, each with the variance of a
    # square, is known to sqrt(2 / 256) = 9 %: the slope over 12 blocks to 3 %.
    slope = np.polyfit(np.arange(12), inverse, 1)[0]
    assert slope == pytest.approx(1, abs=3 * 0.09 / math.sqrt(12))


def test_scaled_branches_all_count_alike():
    found = effective_depth(mlp("scaled_residual", 8), X, gradient=False)
    # a^2 / (1 + a^2) at the most; less what activations hold that is constant.
    assert found.share.max() < 1 / 9 * (1 + 4 * 0.09)
    assert found.share.max() < 1.5 * found.share.min()


@on_torch
def test_stacked_and_separate_blocks_and_scaled_merges_agree():
    scheme = fixinit.schemes.ScaledResidual("decreasing")
    found = [
        effective_depth(mlp(scheme, units=32, stacked=stacked), X, training=True)
        for stacked in (False, True)
    ]
    for one, two in zip(*map(dataclasses.astuple, found), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_shares_of_the_output_add_up():
    share = np.random.default_rng(0).uniform(-0.5, 1, size=20)
    assert output_shares(share).sum() == pytest.approx(1)


@pytest.mark.every_backend
def test_blocks_that_change_the_shape_in_either_data_format():
    model = fixinit.models.ResNet1D(
        (1, 1), (4, 8), scheme="fixup", input_shape=(16, 1), seed=0
    )
    found = effective_depth(model, X[..., None], gradient=False)
    np.testing.assert_allclose(found.share, [0, 0], atol=1e-6)
    if keras.backend.backend() == "tensorflow":
        return  # It has no convolutions with channels first on CPUs.
    x = inputs = keras.Input((2, 8))
    options = {"data_format": "channels_first", "kernel_size": 1}
    x = keras.layers.Conv1D(2, **options)(x)
    branch = keras.layers.Conv1D(2, kernel_initializer="zeros", **options)
    model = keras.Model(inputs, keras.layers.Add()([x, branch(x)]))
    # What differs between channels alone has no variance.
    branch.bias.assign([0.0, 100.0])
    found = effective_depth(model, X.reshape(256, 2, 8), gradient=False)
    assert abs(found.share[0]) < 1e-4


@pytest.mark.slow
@pytest.mark.every_backend
def test_nothing_changes(untouched):
    model = mlp("batch_norm", 2, 8, dropout_rate=0.5, stacked=True)
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    with untouched(model):
        effective_depth(model, X, training=True)


def test_new_weights_are_seen():
    model = mlp("skip_init", 2, 8)
    measure = EffectiveDepth(model)
    assert measure(X, gradient=False).depth == pytest.approx(0, abs=1e-6)
    for weight in model.trainable_weights:
        if weight.path.endswith("multiplier"):
            weight.assign(0.5)
    assert measure(X, gradient=False).depth > 0.01


def test_refuses_what_has_no_variance():
    measure = EffectiveDepth(mlp("scaled_residual", 2, 8))
    with pytest.raises(ValueError, match="two samples"):
        measure(X[:1])
    with pytest.raises(ValueError, match="same ones for every sample"):
        measure(np.ones_like(X))
    with pytest.raises(ValueError, match="NaN"):
        measure(np.full_like(X, np.nan))
