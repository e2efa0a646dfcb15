"""Activation functions of the user's own keep signals as those of Keras do."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import convert, normal, said
from tests.marks import on_torch


def hard_swish(x):
    return x * ops.relu6(x + 3) / 6


def mish(x):
    return x * ops.tanh(ops.softplus(x))


def quick_gelu(x):
    return x * ops.sigmoid(1.702 * x)


def squeezed(x):
    return x * ops.sigmoid(ops.mean(x, axis=-1, keepdims=True))


def chain(make, depth=12):
    x = inputs = keras.Input((64,))
    for _ in range(depth):
        x = make(x)
    return keras.Model(inputs, x)


def alone(act):
    return lambda x: act(layers.BatchNormalization()(layers.Dense(64)(x)))


def fused(function):
    return lambda x: layers.BatchNormalization()(layers.Dense(64, function)(x))


def residual(act):
    def make(x):
        y = act(layers.BatchNormalization()(layers.Dense(64)(x)))
        return x + act(layers.BatchNormalization()(layers.Dense(64)(y)))

    return make


@on_torch
@pytest.mark.parametrize("scheme", ["scaled_residual", "fixup"])
def test_sizes_are_those_of_the_function_of_keras(scheme):
    x, act = normal(256, 64), layers.Activation

    def size(way, seed=0):
        free = fixinit.convert(chain(way), scheme, seed=seed)
        return float(np.mean(free.predict(x, verbose=0) ** 2))

    for known, own in (
        (alone(act("hard_silu")), alone(act(hard_swish))),
        (fused("mish"), fused(mish)),
    ):
        np.testing.assert_allclose(size(own), size(known), rtol=0.05)
    for way in (alone(hard_swish), alone(mish)):
        # A chain of operations has size 1 in front of it instead of behind, and drifts
        # by up to 2.5 over 12 layers. Logarithms of single draws deviate by 0.9, so
        # those of means of four by 0.45: three deviations are another factor of 4.
        logs = [np.log(size(way, seed)) for seed in range(4)]
        assert 0.1 < np.exp(np.mean(logs)) < 10


@on_torch
def test_kernels_in_branches_are_those_for_the_function_of_keras():
    found = []
    for act in (
        *(layers.Activation("hard_silu"), layers.Activation(hard_swish)),
        hard_swish,  # as a chain of operations
    ):
        free = convert(chain(residual(act), 2), "fixup")
        kernels = [x.kernel for x in free.layers if isinstance(x, layers.Dense)]
        found.append([float(np.std(ops.convert_to_numpy(k))) for k in kernels])
    np.testing.assert_allclose(found[1:], found[:1] * 2, rtol=1e-3)


@on_torch
def test_factors_are_no_activations():
    found = []
    for factor in (1.0, 0.1):
        free = convert(
            chain(residual(lambda x, c=factor: c * layers.ReLU()(x))), "fixup"
        )
        linear = convert(chain(residual(lambda x, c=factor: c * x), 2), "fixup")
        kernels = [
            np.std(ops.convert_to_numpy(x.kernel))
            for model in (free, linear)
            for x in model.layers
            if isinstance(x, layers.Dense)
        ]
        found.append(kernels)
    np.testing.assert_allclose(*found, rtol=1e-3)


@pytest.mark.parametrize("make", [alone, residual])
def test_nothing_is_assumed_of_functions_of_elements(make):
    model = chain(make(layers.Activation(quick_gelu)), 2)
    assert "No variance rule" not in said(model, "scaled_residual")


def test_functions_that_mix_channels_are_named():
    text = said(chain(alone(layers.Activation(squeezed, name="squeezed")), 1))
    assert "No variance rule for some calls" in text and "squeezed" in text


def test_transpositions_of_squares_are_no_activation():
    """As many patches as channels: what mixes patches is one weight layer more."""
    x = inputs = keras.Input((16, 16))
    for _ in range(2):
        h = layers.LayerNormalization()(layers.Dense(16)(x))
        h = ops.transpose(layers.Dense(16)(ops.transpose(h, (0, 2, 1))), (0, 2, 1))
        x = x + h
    free = convert(keras.Model(inputs, x))
    assert [b["branches"][0]["depth"] for b in free.conversion["blocks"]] == [2, 2]
