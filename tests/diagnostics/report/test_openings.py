"""Branches that start at zero, and whether training opens them."""

import keras
import numpy as np
import pytest
from keras import layers

import fixinit
from fixinit.diagnostics import diagnose
from tests.marks import on_torch, rest_on_torch, slow_on_tensorflow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype("float32")
Y = RNG.normal(size=(32, 2)).astype("float32")


class Gamma(layers.Layer):
    """A scale of each channel that nothing is declared about."""

    def __init__(self, start, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        start = keras.initializers.Constant(self.start)
        self.gamma = self.add_weight(shape=shape[-1:], initializer=start)

    def call(self, x):
        return x * self.gamma


def zero_kernel(name=None):
    return layers.Dense(16, kernel_initializer="zeros", name=name)


def scalar():
    return fixinit.layers.ScalarMultiplier("zeros")


def network(*ends, blocks=3):
    """A residual network whose branches end in layers that `ends` makes."""
    inputs = keras.Input((8,))
    x = layers.Dense(16)(inputs)
    for index in range(blocks):
        y = layers.Dense(16, "relu")(x)
        for make in ends:
            y = make()(y)
        x = layers.Add(name=f"sum{index}")([x, y])
    return keras.Model(inputs, layers.Dense(2)(x))


@slow_on_tensorflow
@pytest.mark.every_backend
@rest_on_torch(
    "ends",
    [
        (zero_kernel, scalar),
        (scalar, scalar),
        (scalar, lambda: Gamma(0.0)),
        (lambda: Gamma(1e-6), scalar),
        (zero_kernel, lambda: Gamma(1e-6)),
        (lambda: layers.BatchNormalization(gamma_initializer="zeros"), scalar),
    ],
    quick=2,
)
def test_a_zero_behind_a_zero_never_opens(ends):
    found = diagnose(network(*ends), X, Y)
    assert found.closed == ["sum0", "sum1", "sum2"]
    verdict = found.verdict
    assert (verdict.kind, verdict.where) == ("never_opens", "sum0")
    assert "3 of 3 blocks never open" in verdict.cause


@on_torch
@pytest.mark.parametrize(
    "ends",
    [
        (zero_kernel,),
        (scalar,),
        (lambda: Gamma(1e-6),),
        (lambda: layers.Dense(16), lambda: Gamma(0.0)),
        (scalar, lambda: layers.Dense(16)),
        (lambda: layers.BatchNormalization(gamma_initializer="zeros"),),
        # The bias of the last layer opens the branch.
        (scalar, lambda: Gamma(1.0), lambda: fixinit.layers.ScalarBias()),
    ],
)
def test_one_zero_opens(ends):
    assert diagnose(network(*ends), X, Y).closed == []


@on_torch
def test_a_branch_without_a_gradient_behind_it_is_not_judged():
    model = network(scalar)
    head = model.layers[-1]
    head.kernel.assign(np.zeros(head.kernel.shape))
    assert diagnose(model, X, Y).closed == []
    model = network(scalar)
    for layer in model.layers:
        layer.trainable = False
    assert diagnose(model, X, Y).closed == []


@on_torch
def test_stochastic_depth_that_drops_a_batch_closes_nothing():
    def drop():
        return layers.Dropout(0.9999, noise_shape=(1, 1), seed=0)

    assert diagnose(network(drop), X, Y).closed == []
    assert diagnose(network(zero_kernel, scalar, drop), X, Y).closed


@on_torch
def test_blocks_of_a_stack():
    stack = fixinit.layers.Stack(
        fixinit.layers.ResidualBlock(
            [layers.Dense(16, "relu"), zero_kernel(), scalar()]
        ),
        depth=3,
        name="blocks",
    )
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(2)(stack(layers.Dense(16)(inputs))))
    assert diagnose(model, X, Y).closed == ["blocks[0]", "blocks[1]", "blocks[2]"]


@on_torch
@pytest.mark.parametrize("scheme", fixinit.schemes.names())
def test_no_scheme_closes_its_branches(scheme):
    model = fixinit.models.ResidualMLP(3, 16, scheme=scheme, input_shape=(8,), seed=0)
    head = model.layers[-2]
    if not np.any(keras.ops.convert_to_numpy(head.kernel)):
        head.kernel.assign(RNG.normal(size=head.kernel.shape))
    assert diagnose(model, X, RNG.integers(10, size=32)).closed == []
