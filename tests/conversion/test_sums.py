"""Differences and sums: signs and sizes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from tests.conversion.helpers import (
    assert_close,
    convert,
    normal,
    still,
    zeros,
)
from tests.marks import on_torch, slow_on_tensorflow


def two_layers(x, width=32):
    y = layers.Dense(width)(layers.LayerNormalization()(x))
    return layers.Dense(width)(layers.ReLU()(layers.LayerNormalization()(y)))


def mean_square(y):
    return float(np.mean(np.square(ops.convert_to_numpy(y))))


def network(take_away, blocks=10):
    x = inputs = keras.Input((32,))
    for _ in range(blocks):
        x = take_away(x, two_layers(x))
    return keras.Model(inputs, x)


TAKE_AWAY = {
    "layer": lambda x, y: layers.Subtract()([x, y]),
    "operation": ops.subtract,
    "reversed": lambda x, y: y - x,
    "factor": lambda x, y: fixinit.layers.ScaledAdd(1.0, -0.5)([x, y]),
}


@on_torch
@pytest.mark.parametrize("scheme", fixinit.schemes.names())
@pytest.mark.parametrize("take_away", TAKE_AWAY.values(), ids=TAKE_AWAY)
def test_differences_are_residual_blocks(take_away, scheme):
    free = convert(network(take_away), scheme)
    assert free.conversion["num_branches"] == 10
    grows = scheme == "unnormalized" or fixinit.schemes.get(scheme).normalizes
    assert grows or 0.2 < mean_square(free(normal(64, 32))) < 6


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual", "skip_init"])
@pytest.mark.parametrize("take_away", TAKE_AWAY.values(), ids=TAKE_AWAY)
def test_the_sign_stays(take_away, scheme):
    """Of one block, what the branch adds is the opposite of what it gives."""
    free = convert(network(take_away, blocks=1), scheme)
    x = normal(4, 32)
    (block,) = fixinit.graph.find_blocks(fixinit.graph.trace(free))
    rest = free(x)
    for layer in free.layers:
        if not fixinit.layers.facts_of(layer).adds:
            for variable in layer.trainable_variables:
                variable.assign(np.ones(variable.shape))
    with_branch = free(x)
    sign = -1 if take_away is TAKE_AWAY["reversed"] else 1
    stream, branch = (ops.convert_to_numpy(h) for h in (rest, with_branch))
    if scheme != "scaled_residual":
        assert_close(stream, sign * x)
    # All weights are 1: the branch gives 32 relu(sum of x + biases), at least 0.
    assert np.all(sign * (branch - sign * x) <= 1e-4)
    assert len(block.branches) == 1


@on_torch
def test_all_of_a_denoiser_is_one_branch():
    x = inputs = keras.Input((8, 8, 1))
    for _ in range(3):
        x = layers.ReLU()(layers.Conv2D(8, 3, padding="same")(x))
    free = convert(keras.Model(inputs, inputs - layers.Conv2D(1, 3, padding="same")(x)))
    assert zeros(free) == ["kernel"]
    noisy = normal(2, 8, 8, 1)
    assert_close(free(noisy), noisy)
    assert not still(free)


# Kernels that are identities make the forecasts alike: they add up in step.
ALIKE = pytest.mark.xfail(reason="terms are taken as independent", strict=True)


@on_torch
@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param(name, marks=ALIKE if name in ("zero_init", "idinit") else ())
        for name in fixinit.schemes.names()
    ],
)
def test_sums_of_many_forecasts_keep_their_size(scheme):
    x = inputs = keras.Input((32,))
    forecasts = []
    for _ in range(16):
        h = layers.ReLU()(layers.LayerNormalization()(layers.Dense(64)(x)))
        forecasts.append(layers.Reshape((4, 2))(layers.Dense(8)(h)))
        x = x - layers.Dense(32)(h)
    total = forecasts[0]
    for forecast in forecasts[1:]:
        total = total + forecast
    # Behind a last layer, so that they are no output of the model.
    outputs = layers.Dense(4)(layers.Flatten()(total))
    free = convert(keras.Model(inputs, outputs), scheme)
    head = free.layers[-1].name
    before = keras.Model(free.inputs, free.get_layer(head).input)
    grows = scheme == "unnormalized" or fixinit.schemes.get(scheme).normalizes
    assert grows or 0.2 < mean_square(before(normal(64, 32))) < 5
