"""Layers that hold the same draw of an initializer."""

import keras
import numpy as np
import pytest
from keras import initializers, layers, ops

import fixinit
from fixinit.graph import equal_draws, trace

pytestmark = pytest.mark.every_backend


def names(model):
    return [group.names for group in equal_draws(trace(model))]


def row_of(make, count=3):
    """A model of layers in a row, `make(index)` each."""
    x = inputs = keras.Input((8,))
    for index in range(count):
        x = make(index)(x)
    return keras.Model(inputs, x)


def dense(initializer):
    return lambda i: layers.Dense(8, kernel_initializer=initializer, name="abc"[i])


@pytest.mark.parametrize(
    "kind", ["HeNormal", "GlorotUniform", "Orthogonal", "TruncatedNormal"]
)
def test_one_instance_and_one_integer(kind):
    make = getattr(initializers, kind)
    assert names(row_of(dense(make()))) == [("a", "b", "c")]
    assert names(row_of(lambda i: dense(make(seed=3))(i))) == [("a", "b", "c")]
    assert names(row_of(lambda i: dense(make(seed=i))(i))) == []
    assert names(row_of(lambda i: dense(make())(i))) == []


@pytest.mark.parametrize(
    "initializer",
    [
        "he_normal",
        initializers.Zeros(),
        initializers.Ones(),
        initializers.Constant(0.1),
        initializers.Identity(),
        initializers.RandomNormal(stddev=0.0, seed=1),
        initializers.HeNormal(seed=keras.random.SeedGenerator(1)),
        lambda shape, dtype=None: ops.full(shape, 0.1, dtype),
    ],
    # Their representations hold addresses, by which processes would not agree.
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_no_draws_and_draws_of_their_own(initializer):
    assert names(row_of(dense(initializer))) == []


def test_shapes_count():
    same = initializers.HeNormal()
    model = row_of(lambda i: layers.Dense(8 - i, kernel_initializer=same))
    assert names(model) == []


def test_shared_weights_are_none():
    same = initializers.HeNormal()
    table = layers.Embedding(8, 8, embeddings_initializer=same, name="table")
    inputs = keras.Input((4,), dtype="int32")
    logits = ops.matmul(table(inputs), ops.transpose(table.embeddings))
    assert names(keras.Model(inputs, logits)) == []
    twice, inputs = dense(same)(0), keras.Input((8,))
    assert names(keras.Model(inputs, twice(twice(inputs)))) == []


def test_weights_that_were_loaded_are_none(tmp_path):
    model = row_of(dense(initializers.HeNormal(seed=3)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert names(model) == names(again) == []


def test_kernels_that_are_copied_on_purpose_are_none():
    model = row_of(dense("he_normal"))
    for layer in model.layers[2:]:
        layer.set_weights(model.layers[1].get_weights())
    assert names(model) == []


def test_calls_of_one_layer_and_parts_of_one():
    same = initializers.HeNormal()
    first, second = (dense(same)(i) for i in range(2))
    inputs = keras.Input((8,))
    (group,) = equal_draws(trace(keras.Model(inputs, first(second(first(inputs))))))
    assert group.names == ("a", "b")
    assert group.calls == ("a", "a:2", "b")
    attention = layers.MultiHeadAttention(
        2, 4, kernel_initializer=initializers.HeNormal(seed=3), name="attention"
    )
    inputs = keras.Input((3, 8))
    (found,) = names(keras.Model(inputs, attention(inputs, inputs)))
    assert found == ("attention/query", "attention/key", "attention/value")


@pytest.mark.parametrize("seed, count", [(1, 1), (None, 0)])
def test_kernels_in_a_stack(seed, count):
    branch = [
        layers.Dense(8, kernel_initializer=initializers.HeNormal(seed), name=name)
        for name in "ab"
    ]
    block = fixinit.layers.ResidualBlock(branch, name="block")
    stack = fixinit.layers.Stack(block, 3, name="stack")
    inputs = keras.Input((8,))
    assert len(names(keras.Model(inputs, stack(inputs)))) == count


@pytest.mark.parametrize("scheme", ["fixup", "batch_norm"])
@pytest.mark.parametrize("stacked", [False, True])
def test_models_of_the_library_draw_anew(scheme, stacked):
    model = fixinit.models.ResidualMLP(4, 16, scheme=scheme, stacked=stacked, seed=0)
    assert names(model) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "NASNetMobile"]
)
def test_published_models_draw_anew(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    assert names(model) == []
