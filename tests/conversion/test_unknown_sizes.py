"""Layers of unknown size that make the stream."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from fixinit.conversion import batches
from tests.conversion.helpers import assert_close, convert, normal, said
from tests.marks import on_torch, slow_on_tensorflow


class Table(layers.Layer):
    """An embedding of one's own, as small as they are drawn."""

    def __init__(self, rows=50, units=16, **kwargs):
        super().__init__(**kwargs)
        self.rows, self.units = rows, units

    def build(self, shape):
        self.table = self.add_weight(
            shape=(self.rows, self.units), initializer="uniform", name="table"
        )

    def call(self, x):
        return ops.take(self.table, x, axis=0)

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape, self.units), "float32")

    def get_config(self):
        return {**super().get_config(), "rows": self.rows, "units": self.units}


class Large(layers.Layer):
    """A linear layer of one's own whose outputs are far too large."""

    def build(self, shape):
        self.matrix = self.add_weight(
            shape=(shape[-1], 16), initializer="random_normal"
        )

    def call(self, x):
        return 1000 * (x @ self.matrix)


class ClassToken(layers.Layer):
    """All tokens with a small one that is learned, and that by itself."""

    def build(self, shape):
        self.token = self.add_weight((1, 1, shape[-1]), "random_normal")

    def call(self, x):
        token = ops.repeat(self.token, ops.shape(x)[0], axis=0)
        return ops.concatenate([x, token], axis=1), token


def blocks(x):
    for number in range(3):
        y = layers.Dense(32, "relu")(layers.LayerNormalization()(x))
        x = layers.add([x, layers.Dense(16)(y)], name=f"block{number}")
    return x


def size(model, x):
    last = keras.Model(model.inputs, model.get_layer("block2").output)
    return float(ops.mean(ops.square(last(x))))


def network(layer, inputs):
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(blocks(layer(inputs)))))


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_embeddings_of_ones_own(scheme):
    model = network(Table(name="tokens"), keras.Input((8,), dtype="int32"))
    tokens = np.random.default_rng(0).integers(0, 50, (16, 8))
    assert 0.3 < size(convert(model, scheme), tokens) < 3
    assert "measured on random inputs" in (text := said(model)) and "tokens" in text


@pytest.mark.parametrize("kind", [Table, layers.Embedding])
def test_embeddings_with_a_factor_behind(kind):
    """By the root of the width, as in Gemma: together they are to give 1."""
    table = kind(50, 16, name="tokens")
    model = network(lambda x: 100.0 * table(x), keras.Input((8,), dtype="int32"))
    tokens = np.random.default_rng(0).integers(0, 50, (16, 8))
    assert 0.3 < size(convert(model), tokens) < 3


@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_stems_of_ones_own(scheme):
    model = network(Large(name="stem"), keras.Input((8,)))
    assert 0.2 < size(convert(model, scheme), normal(64, 8)) < 5


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_recurrent_stems(scheme):
    model = network(layers.LSTM(16, return_sequences=True), keras.Input((8, 8)))
    assert 0.3 < size(convert(model, scheme), normal(64, 8, 8)) < 3


@on_torch
def test_frozen_tables_are_measured_as_they_are():
    table = Table(name="tokens", trainable=False)
    model = network(table, keras.Input((8,), dtype="int32"))
    table.set_weights([100 * normal(50, 16)])
    tokens = np.random.default_rng(0).integers(0, 50, (16, 8))
    free = convert(model)
    assert 0.3 < size(free, tokens) < 3
    (kept,) = free.get_layer("tokens").get_weights()
    np.testing.assert_array_equal(kept, 100 * normal(50, 16))


@on_torch
def test_kept_layers_and_ends_have_no_factor():
    model = network(Table(name="tokens"), keras.Input((8,), dtype="int32"))
    free = convert(model, keep=["tokens"])
    assert not [x for x in free.layers if isinstance(x, layers.Rescaling)]
    x = inputs = keras.Input((8, 8))
    x = layers.LSTM(4)(layers.Dense(8)(x))
    free = convert(keras.Model(inputs, layers.Dense(2)(x)))
    assert not [x for x in free.layers if isinstance(x, layers.Rescaling)]


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_states_of_recurrent_stems_stay_as_they_are(scheme):
    inputs = keras.Input((8, 8))
    lstm = layers.LSTM(16, return_sequences=True, return_state=True)
    x, *states = lstm(inputs)
    for _ in range(2):
        y = layers.Dense(16)(layers.ReLU()(layers.LayerNormalization()(x)))
        x = layers.Add()([x, y])
    free = convert(keras.Model(inputs, [x, *states]), scheme)
    assert 0.3 < np.mean(keras.ops.convert_to_numpy(free(normal(64, 8, 8))[0]) ** 2) < 3
    assert free.conversion["num_branches"] == 2


def class_attention():
    """A stream of tokens, and behind it one of a class token that attends to them."""
    inputs = keras.Input((6, 16))
    tokens = layers.Dense(16)(inputs)
    tokens = layers.Add()([tokens, layers.Dense(16)(layers.ReLU()(tokens))])
    _, x = ClassToken(name="class_token")(tokens)
    for number in range(3):
        y = layers.LayerNormalization()(layers.Concatenate(axis=1)([x, tokens]))
        y = layers.MultiHeadAttention(2, 8)(x, y)
        x = layers.add([x, y], name=f"block{number}")
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


@on_torch
@pytest.mark.parametrize("scheme", ["fixup", "scaled_residual"])
def test_streams_of_a_further_output(scheme):
    free = convert(class_attention(), scheme)
    assert free.conversion["num_branches"] == 4
    assert 0.3 < size(free, normal(64, 6, 16)) < 3
    (factor,) = [x for x in free.layers if isinstance(x, layers.Rescaling)]
    assert factor.name.startswith("class_token_size")


@on_torch
def test_gradients_of_layers_without_a_rule_are_named_by_these():
    """Behind closed branches, nothing depends on the tokens."""
    (text,) = [
        text
        for text in convert(class_attention(), "rezero").conversion["assumptions"]
        if text.startswith("Gradients differ")
    ]
    assert "0 measured" in text and "no variance rule for class_token" in text


def patches(size):
    """A network for images of 8 x 8 pixels, whatever sizes its input leaves open."""
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(16, 2, strides=2, activation="gelu")(inputs)
    x = layers.Reshape((16, 16))(x)
    pooled = layers.GlobalAveragePooling1D()(blocks(x))
    return keras.Model(inputs, layers.Dense(2)(layers.Dense(16, "gelu")(pooled)))


@on_torch
def test_sizes_are_predicted_for_those_of_data():
    data = normal(4, 8, 8, 3)
    assert "sizes of signals cannot be predicted" in said(patches(None))
    text = said(patches(None), data=data)
    assert "cannot be predicted" not in text and "data=" not in text
    found = convert(patches(None), "scaled_residual", data=data)
    expected = convert(patches(8), "scaled_residual", data=data)
    for got, wanted in zip(found.weights, expected.weights, strict=True):
        assert_close(got, wanted)


def test_data_of_other_sizes_says_nothing_of_open_ones():
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    assert batches.open_shape(model, normal(3, 7, 4)) == [(7, 4)]
    assert batches.open_shape(model, normal(3, 7, 5)) is None
    assert batches.open_shape(model, None) is None
    fixed = keras.Input((7, 4))
    model = keras.Model(fixed, layers.Dense(2)(fixed))
    assert batches.open_shape(model, normal(3, 7, 4)) is None
