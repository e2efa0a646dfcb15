"""Conditions that enter into the branches of residual blocks."""

import keras
import pytest
from keras import layers

from fixinit.graph import find_blocks, trace


def blocks(inputs, outputs):
    return find_blocks(trace(keras.Model(inputs, outputs)))


def image_block(x, time, width):
    """A block of a diffusion model, with the embedding of a time step."""

    def conv(x):
        x = layers.Activation("silu")(layers.GroupNormalization(4)(x))
        return layers.Conv2D(width, 3, padding="same")(x)

    shortcut = x if x.shape[-1] == width else layers.Conv2D(width, 1)(x)
    y = conv(x) + layers.Dense(width)(time)[:, None, None, :]
    return conv(y) + shortcut


def test_time_steps_in_blocks_with_projections():
    image, step = keras.Input((8, 8, 8)), keras.Input((16,))
    x, time = image, layers.Dense(16, activation="silu")(step)
    for width in (8, 16, 16, 4):
        x = image_block(x, time, width)
    found = blocks([image, step], x)
    assert [block.branch_depth for block in found] == [2] * 4
    assert [block.changes_shape for block in found] == [False, True, False, True]


def test_a_u_net_joins_what_its_blocks_have_made():
    image, step = keras.Input((8, 8, 8)), keras.Input((16,))
    x, time, skips = image, layers.Dense(16, activation="silu")(step), []
    for width in (8, 16):
        x = image_block(x, time, width)
        skips.append(x)
        x = layers.Conv2D(width, 3, 2, padding="same")(x)
    x = image_block(x, time, 16)
    for width in (16, 8):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skips.pop()])
        x = image_block(x, time, width)
    found = blocks([image, step], x)
    assert len(found) == 5 and {b.branch_depth for b in found} == {2}


def dense(x, activation=None):
    return layers.Dense(16, activation)(x)


def test_conditions_of_the_shape_of_the_stream_serve_all_blocks():
    inputs, condition = keras.Input((4,)), keras.Input((8,))
    x, e = inputs, dense(condition, "silu")
    for _ in range(3):
        y = layers.ReLU()(dense(x) + dense(e))
        x = dense(x) + dense(y)
    assert [b.changes_shape for b in blocks([inputs, condition], x)] == [True] * 3


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_conditions_on_a_plain_network_are_no_shortcuts(count):
    """In `W e + V relu(U e + x)` nothing but `x` tells that `e` is no stream."""
    inputs, condition = keras.Input((16,)), keras.Input((8,))
    x, e = inputs, dense(condition, "silu")
    for _ in range(count):
        x = layers.ReLU()(dense(x) + dense(e))
    assert not blocks([inputs, condition], x)


def test_conditions_on_a_stream_are_no_shortcuts():
    inputs, condition = keras.Input((16,)), keras.Input((8,))
    x, e = inputs, dense(condition, "silu")
    for index in range(3):
        x = layers.Add(name=f"condition{index}")([x, dense(e)])
        y = dense(dense(layers.LayerNormalization()(x), "relu"))
        x = layers.Add(name=f"block{index}")([x, y])
    names = [block.name for block in blocks([inputs, condition], x)]
    assert names == ["block0", "block1", "block2"]
