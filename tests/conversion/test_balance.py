"""Sizes of signals outside of branches, where layers are called more than once."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.conversion.helpers import convert, normal, said
from tests.marks import on_torch, slow_on_tensorflow


def size(y):
    return float(ops.mean(y**2))


def conv(width=32):
    return layers.Conv2D(width, 3, padding="same")


def test_one_pooling_for_the_whole_network():
    pool = layers.MaxPooling2D(2)
    pair, outputs = [keras.Input((16, 16, 32)) for _ in range(2)], []
    for x in pair:
        for _ in range(3):
            x = pool(layers.ReLU()(layers.BatchNormalization()(conv()(x))))
        outputs.append(x)
    free = convert(keras.Model(pair, outputs), "skip_init")
    for y in free([normal(8, 16, 16, 32, seed=s) for s in (0, 1)]):
        assert 0.4 < size(y) < 2.5


@on_torch
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(("activation", "wanted"), [("silu", 1), ("tanh", 0.394)])
def test_towers_that_are_called_twice(nested, activation, wanted):
    parts = []
    for _ in range(8):
        parts += [layers.Dense(128), layers.BatchNormalization()]
        parts += [layers.Activation(activation)]

    def tower(x):
        for part in parts:
            x = part(x)
        return x

    if nested:
        inputs = keras.Input((128,))
        tower = keras.Model(inputs, tower(inputs))
    pair = [keras.Input((128,)) for _ in range(2)]
    free = convert(keras.Model(pair, [tower(x) for x in pair]), "skip_init")
    for y in free([normal(16, 128, seed=s) for s in (0, 1)]):
        assert 0.4 < size(y) / wanted < 2.5


def test_one_dropout_at_the_end_of_every_branch():
    drop = layers.Dropout(0.1)
    sizes = []
    for shared in (True, False):
        x = inputs = keras.Input((256,))
        for _ in range(4):
            y = layers.Activation("silu")(layers.BatchNormalization()(x))
            y = layers.Dense(256)(y)
            x = layers.add([x, drop(y) if shared else layers.Dropout(0.1)(y)])
        free = convert(keras.Model(inputs, x), "scaled_residual")
        sizes.append(size(free(normal(32, 256))))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@on_torch
def test_attention_by_hand():
    x = inputs = keras.Input((6, 32))
    for _ in range(3):
        q, k, v = (layers.Dense(32)(layers.LayerNormalization()(x)) for _ in range(3))
        scores = layers.Softmax()(ops.matmul(q, ops.transpose(k, (0, 2, 1))))
        x = x + layers.Dense(32)(ops.matmul(scores, v))
    free = convert(keras.Model(inputs, x), "scaled_residual")
    # At most (1 + 1 / L)^L, for L = 3 (2.4), and what softmax leaves of values.
    assert 0.9 < size(free(normal(16, 6, 32))) < 3.5


def test_inputs_without_axes_and_axes_of_batches():
    ids = keras.Input((), dtype="int32")
    x = layers.Embedding(20, 16)(ids)
    x = layers.add([x, layers.Dense(16)(layers.ReLU()(layers.Dense(16)(x)))])
    heads = [layers.Dense(3)(x) for _ in range(2)]
    text = said(keras.Model(ids, ops.stack(heads, axis=0)))
    assert "cannot be predicted" not in text and "what it reads: stack" in text


def test_data_is_standardized_for_the_stem_alone():
    """A layer that reads data first and something else then is sized once."""
    shared = layers.Dense(64, "relu")
    inputs = keras.Input((64,))
    free = convert(keras.Model(inputs, shared(shared(inputs))), "rezero")
    assert 0.4 < size(free(normal(64, 64))) < 2.5


def measured(model, scheme, *shape):
    free = convert(model, scheme)
    y = ops.convert_to_numpy(free(normal(16, *shape)))
    return float(np.mean(np.square(y))), free


def silu_net(shape, **options):
    axis = 1 if options else -1
    x = inputs = keras.Input(shape)
    for _ in range(5):
        y = layers.BatchNormalization(axis=axis)(x)
        y = layers.Activation("silu")(y)
        x = x + layers.Conv2D(16, 3, padding="same", **options)(y)
    return keras.Model(inputs, x)


@on_torch
@pytest.mark.parametrize("scheme", ["scaled_residual", "skip_init"])
def test_sizes_need_not_be_known(scheme):
    known, _ = measured(silu_net((12, 12, 16)), scheme, 12, 12, 16)
    free, unknown = measured(silu_net((None, None, 16)), scheme, 12, 12, 16)
    # Borders, which are a larger part of fewer positions, tell the two apart.
    assert free == pytest.approx(known, rel=0.25)
    assert not unknown.conversion["assumptions"]


@slow_on_tensorflow
@pytest.mark.every_backend
def test_channels_may_come_first():
    """By the terms that outputs sum up: the closed form has no rule for these."""
    model = silu_net((16, 12, 12), data_format="channels_first")
    free = convert(model, "scaled_residual")
    assert "cannot be predicted" not in "".join(free.conversion["assumptions"])
    first, last = (
        [layer.kernel for layer in net.layers if isinstance(layer, layers.Conv2D)]
        for net in (free, convert(silu_net((12, 12, 16)), "scaled_residual"))
    )
    for one, other in zip(first, last, strict=True):
        # Only borders, where there is less to sum up, tell the two apart.
        assert float(ops.std(one) / ops.std(other)) == pytest.approx(1, abs=0.25)


class Turned(layers.Layer):
    """A layer of one's own without weights, which no rule knows."""

    def call(self, x):
        return keras.ops.transpose(x, (0, 2, 1))


@on_torch
@pytest.mark.parametrize("scheme", ["scaled_residual", "normalized_sum"])
def test_one_operation_without_a_rule_does_not_stop_the_rest(scheme):
    """As in every mixer of tokens and channels."""
    x = inputs = keras.Input((32, 32))
    for _ in range(10):
        y = Turned()(layers.LayerNormalization()(x))
        y = layers.Dense(32)(layers.Dense(64, "relu")(y))
        x = x + Turned()(y)
        x = x + layers.Dense(32)(
            layers.Dense(64, "relu")(layers.LayerNormalization()(x))
        )
    square, free = measured(keras.Model(inputs, x), scheme, 32, 32)
    assert 0.2 < square < 5
    assert "turned" in "".join(free.conversion["assumptions"])


class Heads(layers.EinsumDense):
    """Projections to heads, of a class that no rule is registered for."""

    def __init__(self, count, **options):
        shape = (None, count, 64 // count)
        super().__init__("btd,dhk->bthk", shape, **options)

    def call(self, inputs):
        return 1.0 * super().call(inputs)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_weights_of_a_kind_without_a_rule_add_up_what_they_read(count):
    inputs = keras.Input((8, 64))
    x = layers.Reshape((8, 64))(Heads(count, name="heads")(inputs))
    model = keras.Model(inputs, [x, layers.Dense(2)(x)])
    free = convert(model, "rezero")
    assert size(free(normal(64, 8, 64))[0]) == pytest.approx(1, rel=0.2)
    assert "heads" in "".join(free.conversion["assumptions"])


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_behind_what_saturates_signals_are_as_behind_normalization(activation):
    inputs = keras.Input((256,))
    x = layers.Dense(256, activation)(layers.Dense(256, "relu")(inputs))
    x = layers.Dense(256, activation)(x)
    model = keras.Model(inputs, [layers.Dense(2)(x), x])
    assert "did not settle" not in said(model, "rezero")
    square = size(convert(model, "rezero")(normal(16, 256))[1])
    wanted = {"tanh": 0.394, "sigmoid": 0.293}[activation]
    assert square == pytest.approx(wanted, rel=0.15)


@on_torch
def test_behind_what_saturates_pooling_takes_what_it_takes():
    """LeNet: an average of numbers below 1 is never 1."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, activation="tanh", name="first")(inputs)
    x = layers.AveragePooling2D(2)(x)
    x = layers.AveragePooling2D(2)(layers.Activation("tanh")(layers.Conv2D(16, 3)(x)))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    assert "did not settle" not in said(model, "rezero")
    kernel = convert(model, "rezero").get_layer("first").kernel
    # Data of variance 1 in, variance 1 in front of tanh.
    assert float(ops.var(kernel)) * 27 == pytest.approx(1, rel=0.3)


DROPOUTS = {
    "elements": lambda: layers.Dropout(0.5),
    "channels": lambda: layers.SpatialDropout1D(0.5),
    "gaussian": lambda: layers.GaussianDropout(0.5),
}


@on_torch
@pytest.mark.parametrize("kind", DROPOUTS)
@pytest.mark.parametrize("scheme", ["scaled_residual", "skip_init"])
def test_sizes_hold_in_training_with_dropout(kind, scheme):
    drop = DROPOUTS[kind]
    x = inputs = keras.Input((8, 32))
    x = layers.Dense(64)(x)
    for _ in range(6):
        y = layers.Dense(64, "gelu")(drop()(layers.BatchNormalization()(x)))
        y = layers.Dense(64, "gelu")(drop()(layers.BatchNormalization()(y)))
        x = x + y
    free = convert(keras.Model(inputs, x), scheme)
    y = free(normal(64, 8, 32), training=True)
    assert 0.2 < size(y) < 6


def test_dropout_between_layers_without_blocks():
    x = inputs = keras.Input((64,))
    for _ in range(10):
        x = layers.Dense(64, "relu")(layers.Dropout(0.5)(x))
        x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, [x, layers.Dense(2)(x)])
    y, _ = convert(model, "skip_init")(normal(512, 64), training=True)
    assert 0.1 < size(y) < 10


@on_torch
def test_dropout_between_blocks_is_said():
    """Where blocks end in it, nothing can make up for it in both modes."""
    x = inputs = keras.Input((16,))
    for number in range(10):
        x = x + layers.Dense(16)(layers.Dense(32, "relu")(x))
        x = layers.Dropout(0.3, name=f"drop{number}")(x)
        x = layers.LayerNormalization()(x)
    text = said(keras.Model(inputs, x))
    assert "Noise between residual blocks" in text and "drop0" in text


@on_torch
def test_dropout_in_branches_needs_no_word():
    x = inputs = keras.Input((16,))
    for _ in range(10):
        y = layers.Dropout(0.3)(layers.Dense(16)(layers.Dense(32, "relu")(x)))
        x = layers.LayerNormalization()(x + y)
    assert "Noise" not in said(keras.Model(inputs, x))


@pytest.mark.parametrize("rate, said_of", [(0.2, False), (0.8, True)])
def test_much_noise_on_data_is_said(rate, said_of):
    inputs = keras.Input((16,))
    x = layers.Dense(16)(layers.Dropout(rate, name="noisy")(inputs))
    x = x + layers.Dense(16)(layers.ReLU()(layers.BatchNormalization()(x)))
    text = said(keras.Model(inputs, x))
    assert ("noisy" in text) == said_of
    assert ("in front of the first weights makes signals 5 times" in text) == said_of


def test_streams_start_at_1_whatever_is_in_front_of_the_stem():
    inputs = keras.Input((16,))
    x = layers.Dense(16)(layers.Rescaling(1.0, offset=4.0)(inputs))
    model = keras.Model(inputs, x + layers.Dense(16)(layers.ReLU()(x)))
    assert "The streams of residual blocks start" not in said(model)
