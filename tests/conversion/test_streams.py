"""What is the stream, what joins it, and what only scales it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.conversion.helpers import convert, normal, roles, zeros
from tests.marks import on_torch

NOT_AT_ZERO = ("scaled_residual", "normalized_sum")


def dense(units=32, **kwargs):
    return layers.Dense(units, **kwargs)


def conv(**kwargs):
    return layers.Conv2D(16, 3, padding="same", **kwargs)


def mean_square(free, inputs):
    return mean_square_of(free(inputs))


def mean_square_of(y):
    return float(np.mean(np.square(ops.convert_to_numpy(y))))


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_conditions_that_scale_a_stream_are_its_gates(scheme):
    """`h * (1 + W e)`, as in FiLM, where h depends on e as well."""
    inputs, condition = keras.Input((16,)), keras.Input((4,))
    e, x = dense(16, activation="silu")(condition), dense()(inputs)
    for _ in range(10):
        h = dense()(layers.ReLU()(layers.LayerNormalization()(x)))
        scale, shift = ops.split(dense(64)(e), 2, axis=-1)
        h = layers.LayerNormalization()(h) * (1 + scale) + shift
        x = x + dense()(layers.ReLU()(h))
    free = convert(keras.Model([inputs, condition], x), scheme)
    depths = [b["branches"][0]["depth"] for b in free.conversion["blocks"]]
    assert depths == [2] * 10
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


@on_torch
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


@on_torch
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


def test_conditions_on_the_stream_are_gates_too():
    inputs, condition = keras.Input((32,)), keras.Input((4,))
    x = inputs
    for _ in range(3):
        y = layers.LayerNormalization()(x)
        gate = dense(name=f"gate{_}")(dense()(layers.concatenate([y, condition])))
        x = x + dense()(layers.ReLU()(dense(name=f"stream{_}")(y) * gate))
    free = convert(keras.Model([inputs, condition], x))
    found = roles(free)
    assert [found.get(f"gate{i}") for i in range(3)] == ["gate"] * 3
    assert not any(f"stream{i}" in found for i in range(3))


@on_torch
@pytest.mark.parametrize("scheme", ["scaled_residual", "skip_init"])
@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_networks_that_make_masks_are_residual_networks(activation, scheme):
    inputs = keras.Input((32,))
    x = dense(kernel_initializer="he_normal")(inputs)
    for _ in range(20):
        y = layers.ReLU()(layers.LayerNormalization()(x))
        x = x + dense(kernel_initializer="he_normal")(y)
    mask = dense(activation=activation, name="mask")(x)
    free = convert(keras.Model(inputs, [inputs * mask, x]), scheme)
    assert free.conversion["num_branches"] == 20
    assert 0.2 < mean_square_of(free(normal(64, 32))[1]) < 5


@on_torch
def test_data_that_is_added_again_is_no_shortcut():
    inputs = keras.Input((32,))
    e = layers.Rescaling(1.0)(inputs)
    x = dense()(dense(activation="relu")(inputs))
    for _ in range(6):
        x = x + dense()(layers.ReLU()(dense()(layers.LayerNormalization()(x))))
        x = x + dense()(e)
    free = convert(keras.Model(inputs, x))
    found = free.conversion["blocks"]
    # The first sum is a block: nothing but the input goes into it.
    assert [b["shortcut"] for b in found] == ["identity", "changes shape"] + [
        "identity"
    ] * 5


def test_sums_over_a_whole_image_are_broadcast_at_any_size():
    for size in (8, None):
        x = inputs = keras.Input((size, size, 16))
        for _ in range(2):
            y = layers.GlobalAveragePooling2D(keepdims=True)(x)
            x = x + layers.Conv2D(16, 1)(layers.ReLU()(layers.Conv2D(16, 1)(y)))
        free = convert(
            keras.Model(inputs, layers.Conv2D(4, 3, 2)(x)), "scaled_residual"
        )
        assert not free.conversion["blocks"]
