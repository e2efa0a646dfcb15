"""Layers that hold other layers become part of the graph."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph import opened, trace
from tests.marks import slow_on_tensorflow

pytestmark = pytest.mark.every_backend


class Feed(layers.Layer):
    """Two dense layers behind a normalization, in a residual block."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.parts = [layers.Dense(2 * units, "relu"), layers.Dense(units)]

    def call(self, x):
        h = self.norm(x)
        for part in self.parts:
            h = part(h)
        return x + h


class Block(layers.Layer):
    """A block in a block, with a scale of its own and a mode."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.feed = Feed(units, name="feed")
        self.drop = layers.Dropout(0.5, name="drop")

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x, training=None):
        return x + self.gamma * self.drop(self.feed(x), training=training)


class Lengths(layers.Layer):
    """Asks for the length of sequences and for the size of the batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.table = layers.Embedding(16, 8, name="table")

    def call(self, x):
        batch, length, _ = ops.shape(x)
        places = self.table(ops.arange(length))
        return self.norm(x + ops.broadcast_to(places, (batch, length, 8)))


class Shares(Feed):
    """Divides by the size of the batch."""

    def __init__(self, **kwargs):
        super().__init__(8, **kwargs)

    def call(self, x):
        if x.shape[0] is None:
            raise TypeError("The batch must have a size.")
        return super().call(x) / x.shape[0]

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class Caches(layers.Layer):
    """Returns what Keras cannot record: `None` beside a tensor."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, name="dense")

    def call(self, x, cache=None):
        return self.dense(x), cache


class Cached(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.LayerNormalization(name="norm")
        self.caches = Caches(name="caches")

    def call(self, x):
        y, _ = self.caches(self.norm(x))
        return x + y


class Unreadable(Feed):
    """Computes with the numbers themselves."""

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x):
        return super().call(x) * float(ops.convert_to_numpy(x).max())


class Skewed(Feed):
    """Does something else with symbolic tensors."""

    def call(self, x):
        factor = 2.0 if isinstance(x, keras.KerasTensor) else 1.0
        return super().call(x) * factor


def model_of(*parts, shape=(8,)):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def outputs(model, x):
    return ops.convert_to_numpy(model(x, training=False))


def test_names_weights_and_values_are_those_of_the_model():
    model = model_of(Block(8, name="first"), Block(8, name="second"))
    names = [layer.name for layer in model._flatten_layers()]
    x = normal(4, 8)
    expected = outputs(model, x)
    with opened(model) as found:
        inner = {layer.name: layer for layer in found.model.layers}
        assert {"first_feed_norm", "second_feed_norm", "first_drop"} <= inner.keys()
        assert inner["first_feed_norm"] is model.layers[1].feed.norm
        assert {id(v) for v in found.model.trainable_variables} == {
            id(v) for v in model.trainable_variables
        }
        np.testing.assert_array_equal(outputs(found.model, x), expected)
        assert found.shut == {} and found.shapes is None
        blocks = fixinit.graph.find_blocks(trace(found.model))
        assert len(blocks) == 4
    assert [layer.name for layer in model._flatten_layers()] == names
    np.testing.assert_array_equal(outputs(model, x), expected)


def test_what_an_opened_layer_gives_has_its_name():
    inputs = keras.Input((8,))
    x = Feed(8, name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(Feed(8, name="second")(x)))
    free = fixinit.convert(model, seed=0)
    ends = [free.get_layer(name).output for name in ("first", "second")]
    assert len(keras.Model(free.inputs, ends)(np.ones((2, 8), "float32"))) == 2
    assert free.conversion["num_branches"] == 2


def test_nothing_is_left_on_the_layers():
    model = model_of(Block(8))
    block = model.layers[1]
    parts = block._flatten_layers()
    before = [(type(p), len(p._inbound_nodes), p.trainable) for p in parts]
    for _ in range(2):
        with opened(model):
            pass
    after = [(type(p), len(p._inbound_nodes), p.trainable) for p in parts]
    assert before == after
    assert isinstance(block.gamma, keras.Variable)


def test_a_layer_that_is_called_twice_stays_shared():
    shared = Feed(8, name="shared")
    model = model_of(shared, layers.ReLU(), shared)
    with opened(model) as found:
        names = [layer.name for layer in found.model.layers]
        assert names.count("shared_norm") == 1
        assert len(found.model.weights) == len(model.weights)


def test_without_layers_of_ones_own_it_is_the_model():
    model = model_of(layers.Dense(8), layers.BatchNormalization())
    with opened(model) as found:
        assert found.model is model


def test_what_should_stay_stays():
    model = model_of(Feed(8, name="stays"))
    with opened(model, lambda layer: layer.name == "stays") as found:
        assert found.model is model


def test_open_sizes_are_assumed_or_those_of_the_data():
    model = model_of(Lengths(name="lengths"), shape=(None, 8))
    with opened(model) as found:
        # There are 16 positions.
        assert found.shapes == [(None, 8, 8)]
        assert len(found.model.trainable_variables) == 3
        for batch in (1, 7):
            x = normal(batch, 8, 8)
            np.testing.assert_allclose(
                outputs(found.model, x), outputs(model, x), atol=1e-6
            )
    with opened(model, data=normal(3, 5, 8)) as found:
        assert found.shapes == [(None, 5, 8)]


def test_a_batch_size_that_is_computed_with_stays():
    model = model_of(Shares(name="shares"))
    with opened(model) as found:
        assert found.shapes == [(2, 8)]
    with opened(model, data=normal(3, 8)) as found:
        assert found.shapes == [(3, 8)]


def test_layers_that_keras_cannot_record():
    model = model_of(Cached(name="cached"))
    with opened(model) as found:
        names = [layer.name for layer in found.model.layers]
        assert "cached_caches_dense" in names
        np.testing.assert_array_equal(
            outputs(found.model, normal(2, 8)), outputs(model, normal(2, 8))
        )


def test_time_distributed_models():
    x = inputs = keras.Input((8,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(8, name="dense")(x))
    frame = keras.Model(inputs, x, name="frame")
    model = model_of(layers.TimeDistributed(frame), shape=(5, 8))
    with opened(model) as found:
        names = [call.name for call in trace(found.model).calls]
        assert "time_distributed_frame/norm" in names
        np.testing.assert_allclose(
            outputs(found.model, normal(2, 5, 8)),
            outputs(model, normal(2, 5, 8)),
            atol=1e-6,
        )


def test_what_does_not_open_stays_shut_with_the_reason():
    model = model_of(Feed(8, name="feed"))
    model.layers[1].__class__ = Unreadable
    with opened(model) as found:
        assert found.model.get_layer("feed") is model.layers[1]
        assert "Unreadable" in found.shut["feed"]
    with pytest.raises(ValueError, match=r"`feed`.*keep=\['feed'\].*symbolic tensors"):
        fixinit.convert(model)


def test_a_graph_that_computes_something_else_is_not_taken():
    model = model_of(Skewed(8, name="feed"))
    x = keras.Input((8,))
    model = keras.Model(x, model.layers[1](x))
    with opened(model) as found:
        assert "something else" in found.shut["feed"]


@slow_on_tensorflow
def test_diagnose_and_explain_look_inside(capsys):
    model = model_of(layers.Dense(8), Block(8, name="block"))
    found = fixinit.diagnostics.diagnose(model, normal(8, 8))
    assert "block_feed_norm" in [row.name for row in found.layers]
    assert len(found.blocks) == 2
    record = fixinit.conversion.explain(model)
    assert record.removed == {"LayerNormalization": ["block_feed_norm"]}
    assert len(record.blocks) == 2


@slow_on_tensorflow
def test_converts_trains_and_is_saved(tmp_path):
    model = model_of(layers.Dense(8), Feed(8, name="one"), Feed(8, name="two"))
    free = fixinit.convert(model, "rezero", seed=0)
    assert free.conversion["num_branches"] == 2
    assert not any("norm" in layer.name for layer in free.layers)
    free.compile("sgd", "mse")
    free.fit(normal(8, 8), normal(8, 8), epochs=2, verbose=0)
    free.save(tmp_path / "free.keras")
    again = keras.models.load_model(tmp_path / "free.keras")
    np.testing.assert_array_equal(
        outputs(free, normal(2, 8)), outputs(again, normal(2, 8))
    )


class Dead(layers.Layer):
    """A branch that is zero in two places, and so for ever."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, kernel_initializer="zeros", name="dense")
        self.scale = fixinit.layers.ScalarMultiplier("zeros", name="scale")

    def call(self, x):
        return x + self.scale(self.dense(x))


def test_diagnose_measures_what_is_opened_in_both_modes():
    model = model_of(layers.Dense(8), Dead(name="dead"), layers.Dense(2))
    found = fixinit.diagnostics.diagnose(model, normal(8, 8), normal(8, 2))
    assert found.verdict.kind == "never_opens"


class Named(Feed):
    """Finds a part by its own name."""

    def __init__(self, units, **options):
        super().__init__(units, **options)
        setattr(self, f"{self.name}_part", layers.BatchNormalization())

    def call(self, x):
        return getattr(self, f"{self.name}_part")(super().call(x))


class Holder(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.held = Named(8, name="named")

    def call(self, x):
        return x + self.held(x)


def test_layers_may_find_their_parts_by_their_own_names():
    x = keras.Input((8,))
    model = keras.Model(x, Holder(name="holder")(x))
    with opened(model) as inside:
        assert not inside.shut
        assert "holder_named" in " ".join(layer.name for layer in inside.model.layers)
    assert model.get_layer("holder").held.name == "named"
