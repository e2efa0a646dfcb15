import keras
import pytest

import fixinit
from fixinit.graph import find_blocks, trace
from tests.marks import on_torch


def blocks(inputs, outputs):
    return find_blocks(trace(keras.Model(inputs, outputs)))


def dense(x, name=None):
    return keras.layers.Dense(8, name=name)(x)


def test_tells_the_shortcut_from_the_branch():
    x = inputs = keras.Input((8,))
    x = keras.layers.Add(name="first")([dense(dense(x, "a"), "b"), x])
    x = keras.ops.add(x, dense(x, "c"))
    first, second = blocks(inputs, x)
    assert (first.name, first.shortcut, first.branches) == ("first", 1, (0,))
    assert (first.branch_depth, first.weights) == (2, ("a", "b"))
    assert (second.shortcut, second.branch_depth) == (0, 1)
    assert second.input == first.output
    assert not first.changes_shape and not second.changes_shape


def test_projection_has_fewer_weights_than_the_branch():
    inputs = keras.Input((4,))
    (block,) = blocks(inputs, dense(dense(inputs)) + dense(inputs, "projection"))
    assert block.branches == (0,) and block.changes_shape


def test_shortcut_that_subsamples_changes_the_shape():
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(2, 3, strides=2, padding="same")(inputs)
    shortcut = keras.layers.MaxPooling2D(1, strides=2)(inputs)
    (block,) = blocks(inputs, keras.layers.add([shortcut, x]))
    assert block.changes_shape and block.shortcut == 0


def test_gates_and_inner_paths_belong_to_the_branch():
    x = inputs = keras.Input((8, 8, 8))
    x = keras.layers.Conv2D(8, 3, padding="same", name="conv")(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = keras.layers.Conv2D(8, 1, activation="sigmoid", name="gate")(gate)
    x = keras.layers.add([keras.layers.multiply([x, gate]), inputs])
    (block,) = blocks(inputs, x)
    assert block.weights == ("conv", "gate") and block.branch_depth == 2


def test_parallel_branches_beside_a_shortcut():
    inputs = keras.Input((8,))
    x = keras.layers.add([dense(inputs), inputs, dense(dense(inputs))])
    (block,) = blocks(inputs, x)
    assert (block.shortcut, block.branches, block.branch_depth) == (1, (0, 2), 2)


@pytest.mark.parametrize("normalizes", [False, True])
def test_parallel_parts_of_a_branch_are_no_block(normalizes):
    """`x + (A(h) + F(h))`: A has fewer weight layers than F, and is no shortcut."""
    x = inputs = keras.Input((8,))
    for i in range(2):
        h = keras.layers.LayerNormalization()(x) if normalizes else x
        f = dense(dense(h, f"up{i}"), f"down{i}")
        x = x + keras.layers.Dropout(0.1)(dense(h, f"a{i}") + f)
    first, second = blocks(inputs, x)
    assert set(first.weights) == {"a0", "up0", "down0"}
    assert first.branch_depth == 2 and not first.changes_shape
    assert second.input == first.output


def test_projecting_blocks_inside_a_branch_are_blocks():
    x = inputs = keras.Input((8,))
    h = dense(x, "before")
    h = dense(dense(h, "up"), "down") + dense(h, "projection")
    inner, outer = blocks(inputs, x + h)
    assert inner.weights == ("up", "down") and inner.changes_shape
    assert outer.input != inner.input


def test_no_shortcut_no_block():
    inputs, other = keras.Input((8,)), keras.Input((8,))
    assert not blocks(inputs, keras.layers.add([dense(inputs), dense(inputs)]))
    assert not blocks([inputs, other], dense(inputs) + other)
    assert not blocks(inputs, keras.layers.add([inputs, keras.ops.relu(inputs)]))
    assert not blocks(inputs, dense(inputs) + 1.0)


class Wrapped(keras.layers.Layer):
    """A layer that holds its weights in another one."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.Dense(8)

    def call(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    "layer",
    [
        Wrapped(),
        keras.layers.MultiHeadAttention(2, 4),
        keras.layers.LSTM(8, return_sequences=True),
        keras.layers.TimeDistributed(keras.layers.Dense(8)),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("frozen", [False, True])
def test_layers_around_weights_are_weight_layers(layer, frozen):
    inputs = keras.Input((5, 8))
    h = keras.layers.LayerNormalization(axis=[1, 2])(inputs)
    h = layer(h, h) if "Attention" in type(layer).__name__ else layer(h)
    layer.trainable = not frozen
    (block,) = blocks(inputs, keras.layers.add([inputs, h]))
    assert (block.shortcut, block.branch_depth) == (0, 1)
    assert block.weights == (layer.name,)


def test_of_paths_without_weights_the_empty_one_is_the_shortcut():
    inputs = keras.Input((8,))
    ways = [keras.layers.PReLU()(inputs), inputs, dense(inputs)]
    (block,) = blocks(inputs, keras.layers.add(ways))
    assert (block.shortcut, block.branches) == (1, (0, 2))


def test_the_activation_behind_the_sum_ends_the_block():
    x = inputs = keras.Input((8,))
    x = keras.layers.ReLU(name="end")(keras.layers.add([x, dense(x)]))
    x = keras.layers.add([x, dense(x)], name="last")
    traced = trace(keras.Model(inputs, keras.layers.ReLU()(x) + x))
    ends, last, *_ = find_blocks(traced)
    names = {v: call.name for v, call in traced.producers().items()}
    # What something else reads too is the output itself.
    assert names[ends.output] == "end" and names[last.output] == "last"


@on_torch
@pytest.mark.parametrize("scheme", fixinit.schemes.names())
@pytest.mark.parametrize("preactivation", [False, True])
def test_finds_every_block_of_our_models(scheme, preactivation):
    model = fixinit.models.ResNet1D(
        (2, 1),
        (4, 8),
        scheme=scheme,
        input_shape=(8, 1),
        preactivation=preactivation,
    )
    found = find_blocks(trace(model))
    ours = [x for x in model.layers if isinstance(x, fixinit.layers.ResidualBlock)]
    assert [block.name for block in found] == [layer.name for layer in ours]
    assert [block.branch_depth for block in found] == [2, 2, 2]
    assert [block.changes_shape for block in found] == [False, False, True]


def test_the_scaled_addition_of_inception_resnet():
    module = keras.src.applications.inception_resnet_v2
    inputs = keras.Input((8, 8, 16))
    h = module.inception_resnet_block(inputs, 0.17, "block35", 1)
    (block,) = blocks(inputs, h)
    assert (block.shortcut, block.branch_depth) == (0, 4)
    shortcut, branch = block.addends([2.0, 100.0])
    assert (shortcut, branch) == (2.0, pytest.approx(17.0))


@on_torch
@pytest.mark.parametrize(
    "name, count, depth", [("ResNet50", 16, 3), ("MobileNetV2", 10, 3)]
)
def test_finds_the_blocks_of_keras_applications(name, count, depth):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    found = find_blocks(trace(model))
    assert len(found) == count and {b.branch_depth for b in found} == {depth}


@pytest.mark.parametrize(
    ("takes_away", "shortcut", "addends"),
    [
        (lambda x, y: keras.layers.Subtract()([x, y]), 0, (2.0, -3.0)),
        (keras.ops.subtract, 0, (2.0, -3.0)),
        (lambda x, y: x - y, 0, (2.0, -3.0)),
        (lambda x, y: y - x, 1, (-3.0, 2.0)),
    ],
)
def test_differences_are_residual_blocks(takes_away, shortcut, addends):
    x = inputs = keras.Input((8,))
    x = takes_away(x, dense(dense(x)))
    (block,) = blocks(inputs, x)
    assert (block.shortcut, block.branch_depth) == (shortcut, 2)
    assert block.addends([2.0, 3.0]) == addends


def mixer(x):
    """What RepMixer adds, `F(x) + x - x`, where normalization told the two x apart."""
    norm = keras.layers.BatchNormalization
    scaled = fixinit.layers.ChannelMultiplier(keras.initializers.Constant(1e-5))
    mixed = keras.layers.Add(name="mixed")([norm()(x), dense(x)])
    return scaled(keras.layers.Subtract(name="change")([mixed, norm()(x)]))


def test_what_the_sum_carries_on_may_be_taken_away_inside():
    x = inputs = keras.Input((8,))
    found = blocks(inputs, keras.layers.Add(name="sum")([x, mixer(x)]))
    assert [block.name for block in found] == ["mixed", "sum"]
    # By itself, a difference is a block, whatever its sign.
    found = blocks(inputs, keras.layers.Dense(8)(mixer(x)))
    assert [block.name for block in found] == ["mixed", "change"]


def test_differences_to_a_mean_or_a_number_are_none():
    inputs = keras.Input((8,))
    x = dense(inputs)
    x = x - keras.ops.mean(x, axis=-1, keepdims=True)
    assert not blocks(inputs, 1 - (x - 0.5))


def test_a_bias_that_branch_and_projection_share_is_no_fork():
    """As Fixup leaves it, where one of parallel ways begins without weights."""
    inputs = keras.Input((16, 4))
    x = fixinit.layers.ScalarBias()(inputs)
    pooled = keras.layers.MaxPooling1D(3, 1, padding="same")(inputs)
    ways = [keras.layers.Conv1D(4, 1)(way) for way in (x, pooled)]
    y = keras.layers.Conv1D(8, 1)(keras.layers.Concatenate()(ways))
    (block,) = blocks(inputs, keras.layers.Conv1D(8, 1)(x) + y)
    assert block.branch_depth == 2 and block.changes_shape
