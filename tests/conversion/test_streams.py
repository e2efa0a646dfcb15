"""What is the stream, what joins it, and what only scales it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.conversion.helpers import convert, normal, roles, zeros

NOT_AT_ZERO = ("scaled_residual", "normalized_sum")


def dense(units=32, **kwargs):
    return layers.Dense(units, **kwargs)


def conv(**kwargs):
    return layers.Conv2D(16, 3, padding="same", **kwargs)


def mean_square(free, inputs):
    return float(np.mean(np.square(ops.convert_to_numpy(free(inputs)))))


@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual", "skip_init", "rezero"])
def test_conditions_that_scale_a_stream_are_its_gates(scheme):
    """`h * (1 + W e)`, as in FiLM, where h depends on e as well."""
    inputs, condition = keras.Input((16,)), keras.Input((4,))
    e, x = dense(16, activation="silu")(condition), dense()(inputs)
    for _ in range(20):
        h = dense()(layers.ReLU()(layers.LayerNormalization()(x)))
        h = layers.LayerNormalization()(h) * (1 + dense()(e))
        x = x + dense()(layers.ReLU()(h))
    free = convert(keras.Model([inputs, condition], x), scheme)
    depths = [b["branches"][0]["depth"] for b in free.conversion["blocks"]]
    assert depths == [2] * 20
    assert 0.2 < mean_square(free, [normal(64, 16), normal(64, 4, seed=1)]) < 6


def test_weights_of_experts_are_gates_behind_the_slice_that_picks_one():
    x = inputs = keras.Input((8,))
    gate = dense(2, activation="softmax", name="router")(x)
    experts = [dense(8)(dense(activation="relu")(x)) for _ in range(2)]
    x = x + (gate[:, :1] * experts[0] + gate[:, 1:] * experts[1])
    free = convert(keras.Model(inputs, x))
    assert roles(free)["router"] == "gate"
    (block,) = free.conversion["blocks"]
    assert len(block["branches"][0]["weights"]) == 4


def test_what_serves_something_else_is_no_gate():
    """The gates of an attention U-Net read what goes on as well."""
    inputs = keras.Input((8, 8, 3))
    x = conv(name="encoder")(inputs)
    deep = conv(activation="relu", name="deep")(x)
    joint = layers.ReLU()(layers.Add()([conv(name="a")(x), conv(name="b")(deep)]))
    gate = conv(activation="sigmoid", name="gate")(joint)
    x = layers.Concatenate()([x * gate, deep])
    free = convert(keras.Model(inputs, layers.Conv2D(2, 1)(x)))
    found = roles(free)
    assert [found[name] for name in ("a", "b", "gate")] == ["gate"] * 3
    assert found["deep"] == "trunk"
    assert not free.conversion["blocks"]


def parallel(x):
    """Two branches that read one normalization, added one by one."""
    y = layers.LayerNormalization()(x)
    x = x + dense()(dense(64, activation="relu")(y))
    return x + dense()(dense(64, activation="relu")(y))


def parallel_behind_an_activation(x):
    y = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, dense()(y)])
    return layers.Add()([x, dense()(y)])


@pytest.mark.parametrize("block", [parallel, parallel_behind_an_activation])
@pytest.mark.parametrize("scheme", ["fixup", *NOT_AT_ZERO])
def test_parallel_branches_may_share_their_normalization(block, scheme):
    x = inputs = keras.Input((32,))
    for _ in range(15):
        x = block(x)
    free = convert(keras.Model(inputs, x), scheme)
    assert free.conversion["num_branches"] == 30
    if scheme == "fixup":
        assert zeros(free) == ["kernel"] * 30
    assert 0.2 < mean_square(free, normal(64, 32)) < 5


@pytest.mark.parametrize("scheme", ["fixup", *NOT_AT_ZERO])
def test_sizes_that_only_the_branch_leaves_open_are_no_broadcast(scheme):
    """`output_shape=(None, d)` is how `EinsumDense` is written."""

    def per_token(units, **kwargs):
        return layers.EinsumDense("btd,de->bte", (None, units), bias_axes="e", **kwargs)

    x = inputs = keras.Input((6, 32))
    for _ in range(10):
        y = per_token(64, activation="relu")(layers.LayerNormalization()(x))
        x = x + per_token(32)(y)
    free = convert(keras.Model(inputs, x), scheme)
    assert free.conversion["num_branches"] == 10
    assert free.output_shape == (None, 6, 32)
    assert 0.2 < mean_square(free, normal(64, 6, 32)) < 5
