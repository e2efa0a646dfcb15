"""Layers that give the same whatever they read."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph import find_blocks, trace


class Positions(layers.Layer):
    """Embeddings of positions, which read tokens for their number."""

    def build(self, shape):
        self.table = self.add_weight(shape=(128, shape[-1]))

    def call(self, x):
        return ops.broadcast_to(self.table[: ops.shape(x)[1]], ops.shape(x))


class Sines(layers.Layer):
    """Positions without weights."""

    def call(self, x):
        steps = ops.arange(ops.shape(x)[1], dtype=x.dtype)
        return ops.broadcast_to(ops.sin(steps)[:, None], ops.shape(x))


class Adapter(layers.Layer):
    """Starts at zero, and depends on what it reads."""

    def build(self, shape):
        self.down = self.add_weight(shape=(shape[-1], 2))
        self.up = self.add_weight(shape=(2, shape[-1]), initializer="zeros")

    def call(self, x):
        return ops.matmul(ops.matmul(x, self.down), self.up)


class Picky(Adapter):
    """Refuses what is not its data."""

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        raise ValueError("This is not my data.")


def language_model(positions, length=6, behind=()):
    tokens = keras.Input((length,), dtype="int32")
    x = layers.Embedding(10, 8)(tokens)
    y = positions(x)
    for layer in behind:
        y = layer(y)
    x = layers.Add(name="embedded")([x, y])
    for index in range(2):
        branch = layers.Dense(8)(layers.Dense(16, activation="relu")(x))
        x = layers.Add(name=f"block{index}")([x, branch])
    return keras.Model(tokens, x)


@pytest.mark.parametrize("length", [6, None])
@pytest.mark.parametrize("layer", [Positions, Sines])
def test_embeddings_of_positions_are_no_branch(layer, length):
    graph = trace(language_model(layer(), length))
    assert [block.name for block in find_blocks(graph)] == ["block0", "block1"]


def test_what_only_drops_or_reshapes_them_changes_nothing():
    behind = [layers.Dropout(0.1), layers.Reshape((6, 8))]
    graph = trace(language_model(Positions(), behind=behind))
    assert [block.name for block in find_blocks(graph)] == ["block0", "block1"]


@pytest.mark.parametrize("layer", [Adapter, Picky])
def test_what_starts_at_zero_or_cannot_be_tried_is_a_branch(layer):
    assert len(find_blocks(trace(language_model(layer())))) == 3


def test_layers_declare_it():
    layer = Picky()
    layer.fixinit_facts = fixinit.layers.Facts(constant=True)
    graph = trace(language_model(layer))
    assert [call.operation for call in graph.constants] == [layer]
    assert len(find_blocks(graph)) == 2


def test_positions_that_operations_count():
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 8)(tokens)
    steps = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    y = layers.Dense(8)(layers.Embedding(6, 8)(steps))
    assert not find_blocks(trace(keras.Model(tokens, x + y)))


def test_trying_a_layer_changes_nothing():
    model = language_model(Positions())
    before = [ops.convert_to_numpy(v) for v in model.variables]
    trace(model)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(variable))
