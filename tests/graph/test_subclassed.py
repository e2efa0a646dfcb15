"""Models with a `call` of their own are opened to functional ones."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import fixinit
from fixinit.graph import opened, trace
from tests.graph import own_models
from tests.marks import slow_on_tensorflow

pytestmark = pytest.mark.every_backend


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def tokens():
    return np.random.default_rng(0).integers(0, 20, (3, 12))


# Name, constructor, inputs.
MODELS = {
    "resnet": (own_models.ResNet, lambda: normal(2, 16, 16, 3)),
    "text": (own_models.TextClassifier, tokens),
    "autoencoder": (own_models.Autoencoder, lambda: normal(4, 8)),
    "dicts": (
        own_models.TwoTowers,
        lambda: {"query": normal(4, 3), "item": -normal(4, 3)},
    ),
}


def flat(outputs):
    return [ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def assert_equal(got, expected, tolerance=1e-6):
    keras.tree.assert_same_structure(got, expected)
    for one, other in zip(flat(got), flat(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=tolerance)


@slow_on_tensorflow
@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_model(name):
    make, data = MODELS[name]
    model, x = make(), data()
    expected = model(x, training=False)
    before = [(layer.name, type(layer)) for layer in model._flatten_layers()]
    with opened(model) as found:
        assert found.shut == {} and found.lost == []
        assert {id(v) for v in model.weights} <= {id(v) for v in found.model.weights}
        trained = [[id(v) for v in m.trainable_weights] for m in (model, found.model)]
        assert set(trained[0]) == set(trained[1])
        assert_equal(found.model(x, training=False), expected)
        assert trace(found.model).calls
    assert before == [(layer.name, type(layer)) for layer in model._flatten_layers()]
    assert "add_loss" not in vars(model)
    assert_equal(model(x, training=False), expected, tolerance=0)


def test_training_mode_is_that_of_the_model():
    model = own_models.ResNet()
    model.dropout.rate = 0.0
    x = normal(4, 16, 16, 3)
    model(x)
    with opened(model) as found:
        assert_equal(found.model(x, training=True), model(x, training=True), 1e-5)


@pytest.mark.parametrize("built", [False, True])
def test_sizes_and_types_of_data(built):
    model = own_models.TextClassifier()
    if built:
        model(tokens())
    length = 7 if built else 12
    with opened(model, data=tokens()[:, :length]) as found:
        (given,) = found.model.inputs
        assert given.shape == (None, length) and "int" in given.dtype
        assert found.shapes is None


def test_embeddings_read_integers():
    model = own_models.TextClassifier()
    model.build((None, 12))
    with opened(model) as found:
        assert found.model.inputs[0].dtype == "int32"


def test_several_arguments():
    model, (image, text) = own_models.TwoArguments(), (normal(4, 5), normal(4, 3))
    expected = model(image, text)
    with opened(model, data=[image, text]) as found:
        assert [x.shape for x in found.model.inputs] == [(None, 5), (None, 3)]
        assert_equal(found.model([image, text], training=False), expected)
    for data, reason in ((None, "Keras knows"), (image, "must be a list of 2")):
        with pytest.raises(ValueError, match=reason):
            fixinit.convert(model, data=data)


def test_random_numbers_and_losses():
    model, x = own_models.VAE(), normal(4, 8)
    model(x)
    states = model.encoder.sampling.seed_generator.state
    before = ops.convert_to_numpy(states)
    with opened(model) as found:
        (text,) = found.lost
        assert text == f"Losses of `add_loss` are not in the graph: {model.name}."
        names = [layer.name for layer in found.model.layers]
        assert {"encoder_mean", "decoder"} <= set(names)
    np.testing.assert_array_equal(before, ops.convert_to_numpy(states))


def test_models_that_are_not_built():
    with pytest.raises(ValueError, match=r"own_res.*not built.*model\.build\("):
        with opened(own_models.ResNet(name="own_res")):
            pass
    model = own_models.Autoencoder()
    with opened(model, data=normal(4, 8)) as found:
        assert model.built and found.model.output_shape == (None, 8)


def test_models_from_a_file(tmp_path):
    keras.saving.register_keras_serializable("tests")(own_models.Autoencoder)
    model = own_models.Autoencoder()
    x = normal(4, 8)
    expected = model(x)
    model.save(tmp_path / "model.keras")
    with opened(keras.models.load_model(tmp_path / "model.keras")) as found:
        assert_equal(found.model(x), expected)


class Mode(keras.Model):
    """Does something else in training mode."""

    def __init__(self, only_in_training, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(8, name="dense")
        self.noise = only_in_training

    def call(self, x, training=False):
        if training:
            x = self.noise(x)
        return self.dense(x)


def test_layers_of_training_mode_alone_stay_in_the_graph():
    model = Mode(layers.Dropout(0.5, name="drop"))
    model(normal(4, 8))
    with opened(model) as found:
        assert found.lost == []
        assert "drop" in [layer.name for layer in found.model.layers]
        assert_equal(found.model(normal(4, 8)), model(normal(4, 8)))
        rows = flat(found.model(np.ones((64, 8), "float32"), training=True))[0]
        assert np.ptp(rows, axis=0).min() > 0


def test_what_training_mode_alone_computes_is_said():
    model = Mode(layers.Rescaling(2.0))
    model(normal(4, 8))
    with opened(model) as found:
        (text,) = found.lost
        assert "training mode alone" in text and "something else" in text
        assert_equal(found.model(normal(4, 8)), model(normal(4, 8)))


class Fixed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        inputs = keras.Input((8,))
        x = layers.BatchNormalization()(layers.Dense(8)(inputs))
        self.base = keras.Model(inputs, x, name="base")
        self.spare = layers.Dense(2, name="spare")
        self.head = layers.Dense(2)

    def build(self, input_shape):
        self.spare.build(input_shape)
        self.head.build(input_shape)

    def call(self, x):
        return self.head(self.base(x, training=False))


def test_a_fixed_mode_and_layers_that_call_does_not_reach_are_said():
    model = Fixed()
    model(normal(4, 8))
    with opened(model) as found:
        fixed, spare = found.lost
        assert "training=False" in fixed and "base" in fixed
        assert spare.endswith("not in the graph: spare.")


class Decides(Mode):
    def call(self, x):
        return self.dense(x) if ops.mean(x) > 0 else x


class Reads(Mode):
    def call(self, x):
        return self.dense(x) * float(np.max(ops.convert_to_numpy(x)))


class Says(Mode):
    def call(self, x):
        return {"y": self.dense(x), "how": "dense"}


class Draws(Mode):
    def call(self, x):
        return self.dense(x) + keras.random.normal((2, 8))


@pytest.mark.parametrize(
    "kind, reason",
    [
        (Decides, "symbolic tensors"),
        (Reads, "symbolic tensors"),
        (Says, "'dense'"),
        (Draws, "draw random numbers"),
    ],
)
def test_what_has_no_graph_is_refused_with_the_reason(kind, reason):
    model = kind(layers.ReLU(), name="own")
    model.dense.build((None, 8))
    model.build((None, 8))
    what = f"Model `own` of class {kind.__name__}.*{reason}"
    with pytest.raises(TypeError, match=what):
        fixinit.convert(model)


class Steps(keras.Model):
    """As a network of generator and discriminator: it has steps and no `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        parts = [keras.Input((8,)), layers.Dense(8)]
        self.generator = keras.Sequential(parts, name="generator")


def test_models_without_a_call_name_their_parts():
    with pytest.raises(TypeError, match="no `call`.*its parts: `generator`"):
        fixinit.convert(Steps())


def test_functional_models_with_a_call_around():
    class Scaled(keras.Model):
        def call(self, inputs):
            return 2 * super().call(inputs)

    inputs = keras.Input((8,))
    model = Scaled(inputs, layers.BatchNormalization()(layers.Dense(8)(inputs)))
    x = normal(4, 8)
    with opened(model) as found:
        assert_equal(found.model(x), model(x))
