"""Streams that exchange what they hold: each has residual blocks of its own."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph import find_blocks, trace
from tests.marks import rest_on_torch


def blocks(inputs, outputs):
    return find_blocks(trace(keras.Model(inputs, outputs)))


def two_layers(x):
    x = layers.LayerNormalization()(x)
    return layers.Dense(16)(layers.Dense(16, activation="relu")(x))


def halves(x):
    return x[:, :16], x[:, 16:]


@pytest.mark.parametrize("part", [lambda x: ops.split(x, 2, axis=-1), halves])
def test_reversible_blocks_begin_at_the_other_stream(part):
    inputs = keras.Input((32,))
    first, second = part(inputs)
    for _ in range(3):
        first = first + two_layers(second)
        second = layers.subtract([second, two_layers(first)])
    found = blocks(inputs, layers.Concatenate()([first, second]))
    assert [block.branch_depth for block in found] == [2] * 6
    assert [len(block.weights) for block in found] == [2] * 6
    for before, block in zip(found, found[1:], strict=False):
        (branch,) = block.branches
        assert block.starts[branch] == (before.output,)
        assert block.input == block.merge.inputs[block.shortcut]
        assert before.merge not in block.calls and not block.changes_shape


def test_resolutions_exchange_by_blocks_of_their_own():
    inputs = keras.Input((8, 8, 4))

    def conv(x, width, strides=1):
        return layers.Conv2D(width, 3, strides, padding="same")(x)

    def block(x):
        y = conv(layers.ReLU()(conv(x, x.shape[-1])), x.shape[-1])
        return layers.ReLU()(layers.Add()([x, y]))

    high, low = inputs, conv(inputs, 8, 2)
    for index in range(2):
        high, low = block(high), block(low)
        upwards = layers.UpSampling2D()(layers.Conv2D(4, 1)(low))
        downwards = conv(high, 8, 2)
        high = layers.ReLU()(layers.Add(name=f"high{index}")([high, upwards]))
        low = layers.ReLU()(layers.Add(name=f"low{index}")([downwards, low]))
    found = blocks(inputs, [high, low])
    assert len(found) == 8
    exchanges = [b for b in found if b.name.startswith(("high", "low"))]
    assert {b.name for b in exchanges} == {"high0", "low0", "high1", "low1"}
    assert {b.branch_depth for b in exchanges} == {1}
    assert not any(b.changes_shape for b in exchanges)


def test_blocks_between_a_stream_and_itself_are_nested():
    """Residual in residual: the outer branch starts where the inner blocks do."""
    x = inputs = keras.Input((16,))
    for _ in range(3):
        x = x + two_layers(x)
    (*_, outer) = blocks(inputs, inputs + layers.Dense(16, name="last")(x))
    graph = trace(keras.Model(inputs, inputs + layers.Dense(16)(x)))
    assert outer.input == graph.inputs[0]
    assert outer.branch_depth == 7


def test_blocks_on_a_stream_that_begins_inside_of_a_branch_are_nested():
    inputs = keras.Input((16,))
    x = layers.Dense(16)(inputs)
    for _ in range(2):
        x = x + two_layers(x)
    (*_, outer) = blocks(inputs, inputs + layers.Dense(16)(x))
    assert outer.branch_depth == 6


def test_what_a_decoder_reads_of_an_encoder_is_no_part_of_its_blocks():
    source, target = keras.Input((5, 16)), keras.Input((7, 16))
    memory, x = source, target
    for _ in range(2):
        memory = memory + two_layers(memory)
    memory = layers.LayerNormalization(name="memory")(memory)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 8)(y, memory)
    found = blocks([source, target], x)
    assert [block.branch_depth for block in found] == [2, 2, 1, 1]
    assert not any(call.name == "memory" for block in found for call in block.calls)


def test_sums_of_what_blocks_leave_are_no_blocks():
    """Of N-BEATS, the forecasts; the rests are residual blocks."""
    x = inputs = keras.Input((16,))
    total = None
    for index in range(4):
        h = layers.Dense(16, activation="relu")(x)
        forecast = layers.Dense(16)(h)
        total = forecast if total is None else total + forecast
        x = layers.Subtract(name=f"rest{index}")([x, layers.Dense(16)(h)])
    assert [b.name for b in blocks(inputs, [x, total])] == [
        f"rest{index}" for index in range(4)
    ]


def test_streams_may_begin_at_one_value():
    """As in a Reformer: what goes on beside a stream is no part of a branch."""
    inputs = keras.Input((16,))
    first = second = layers.Dense(16)(inputs)
    for _ in range(3):
        first = first + two_layers(second)
        second = second + two_layers(first)
    found = blocks(inputs, layers.Concatenate()([first, second]))
    assert [block.branch_depth for block in found] == [2] * 6


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("projects", [False, True])
def test_coupled_streams_may_come_from_two_inputs(first, projects):
    inputs = [keras.Input((16,)), keras.Input((16,))]
    streams = [layers.Dense(16)(x) for x in inputs] if projects else [*inputs]
    for number in range(6):
        to, of = (first, 1 - first) if number % 2 == 0 else (1 - first, first)
        streams[to] = streams[to] + two_layers(streams[of])
    found = blocks(inputs, layers.Concatenate()(streams))
    assert [block.branch_depth for block in found] == [2] * 6
    for before, block in zip(found, found[1:], strict=False):
        (branch,) = block.branches
        assert block.starts[branch] == (before.output,)


def test_reversible_networks_of_two_inputs_start_as_the_identity():
    inputs = streams = keras.Input((16,)), keras.Input((16,))
    for _ in range(2):
        first = streams[0] + two_layers(streams[1])
        streams = first, streams[1] + two_layers(first)
    with warnings.catch_warnings(action="ignore"):
        free = fixinit.convert(keras.Model(inputs, streams), "fixup", seed=0)
    assert free.conversion["num_branches"] == 4
    x = [np.random.default_rng(i).standard_normal((4, 16)) for i in range(2)]
    for given, y in zip(x, free(x), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(y), given, atol=1e-5)


def test_additions_of_two_inputs_are_no_blocks_where_nothing_comes_back():
    first, second = inputs = keras.Input((16,)), keras.Input((16,))
    x = first + two_layers(second)
    x = x + two_layers(x)
    assert len(blocks(list(inputs), [x, second + two_layers(second)])) == 2


@rest_on_torch("scheme", ["fixup", "skip_init", "batch_norm"], quick=1)
def test_a_second_look_finds_the_same_streams(scheme):
    """What a scheme puts behind a sum does not hide the end of a block."""
    first = second = inputs = keras.Input((16,))
    for _ in range(2):
        first, second = (
            layers.ReLU()(x + layers.Dense(16)(layers.ReLU()(layers.Dense(16)(x))))
            for x in (first, layers.Dense(16)(second))
        )
        total = first + layers.Dense(16)(second)
        first, second = total, layers.ReLU()(second + layers.Dense(16)(first))
    model = keras.Model(inputs, layers.Concatenate()([first, second]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        free = fixinit.convert(model, scheme, seed=0)
    before, after = (find_blocks(trace(m)) for m in (model, free))
    assert [b.branch_depth for b in after] == [b.branch_depth for b in before]
    assert {b.name for b in after} == {b.name for b in before}
    assert len(before) == 8
