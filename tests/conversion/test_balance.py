"""Sizes of signals outside of branches, where layers are called more than once."""

import keras
import pytest
from keras import layers, ops

from tests.conversion.helpers import convert, normal, said


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


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("activation", ["silu", "tanh"])
def test_towers_that_are_called_twice(nested, activation):
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
        assert 0.4 < size(y) < 2.5


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
    assert "cannot be predicted" not in text and "taken to keep it: stack" in text


def test_data_is_standardized_for_the_stem_alone():
    """A layer that reads data first and something else then is sized once."""
    shared = layers.Dense(64, "relu")
    inputs = keras.Input((64,))
    free = convert(keras.Model(inputs, shared(shared(inputs))), "rezero")
    assert 0.4 < size(free(normal(64, 64))) < 2.5
