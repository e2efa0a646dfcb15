"""The classification layers of models, which clipping leaves out."""

import keras
import pytest

import fixinit
from fixinit.optimizers.heads import find_heads

k = keras.layers


def names(model):
    return sorted(layer.name for layer in find_heads(model))


def ending(*behind, width=4):
    """A model whose last layers are these."""
    x = inputs = keras.Input((6,))
    for layer in (k.Dense(5, activation="relu", name="first"), *behind):
        x = layer(x)
    return keras.Model(inputs, x)


HEAD = {"name": "head"}


@pytest.mark.parametrize(
    "behind",
    [
        [k.Dense(4, **HEAD)],
        [k.Dense(4, activation="softmax", **HEAD)],
        [k.Dense(4, **HEAD), k.Softmax(), k.Rescaling(2.0)],
        [k.Dense(4, **HEAD), k.Reshape((2, 2)), k.Activation("sigmoid")],
        [k.Dense(4, **HEAD), fixinit.layers.ScalarMultiplier()],
        [k.Reshape((1, 5)), k.Conv1D(4, 1, **HEAD), k.GlobalAveragePooling1D()],
        [k.Reshape((1, 5)), k.TimeDistributed(k.Dense(4), **HEAD)],
        [k.SpectralNormalization(k.Dense(4), **HEAD)],
        [k.EinsumDense("ab,bc->ac", 4, **HEAD)],
    ],
)
def test_the_last_layer_with_a_kernel_is_the_head(behind):
    copies = [type(layer).from_config(layer.get_config()) for layer in behind]
    assert names(ending(*copies)) == ["head"]


def test_scaled_logits():
    x = keras.Input((6,))
    assert names(keras.Model(x, 3.0 * k.Dense(4, name="head")(x) / 2.0)) == ["head"]


def test_every_output_has_a_head():
    inputs = keras.Input((6,))
    x = k.Dense(5, activation="relu")(inputs)
    heads = [k.Dense(2, name=name)(x) for name in ("a", "b", "c")]
    outputs = {"x": k.Concatenate()(heads[:2]), "y": heads[2]}
    assert names(keras.Model(inputs, outputs)) == ["a", "b", "c"]


def test_heads_inside_of_models():
    inner = ending(k.Dense(4, name="head"))
    x = keras.Input((6,))
    assert names(keras.Model(x, k.Softmax()(inner(x)))) == ["head"]
    sequential = keras.Sequential([keras.Input((6,)), k.Dense(3), k.Dense(2, **HEAD)])
    assert names(sequential) == ["head"]
    assert names(keras.Sequential([keras.Input((6,)), sequential])) == ["head"]


def test_applications_and_models():
    published = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=5)
    assert names(published) == ["predictions"]
    assert names(fixinit.models.ResidualMLP(2, 4)) == ["head"]


@pytest.mark.parametrize(
    "behind",
    [
        [k.Dense(4, activation="relu"), k.BatchNormalization()],
        [k.Dense(4), k.ReLU()],
        [fixinit.layers.Stack(fixinit.layers.ResidualBlock([k.Dense(5)]), 2)],
        [fixinit.layers.ResidualBlock([k.Dense(5)])],
    ],
)
def test_features_have_no_head(behind):
    copies = [keras.layers.deserialize(keras.layers.serialize(x)) for x in behind]
    assert names(ending(*copies)) == []


@keras.saving.register_keras_serializable("tests")
class Unknown(keras.layers.Layer):
    def call(self, x):
        return x


def test_endings_about_which_nothing_is_declared_are_refused():
    with pytest.raises(ValueError, match="Unknown.*`head=`"):
        find_heads(ending(k.Dense(4), Unknown()))
    with pytest.raises(ValueError, match="LSTM.*`head=`"):
        find_heads(ending(k.Reshape((1, 5)), k.LSTM(4)))


def test_sums_are_refused():
    x = keras.Input((6,))
    with pytest.raises(ValueError, match="Add.*`head=`"):
        find_heads(keras.Model(x, x + k.Dense(6)(x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = k.Dense(4)

    def call(self, x):
        return self.dense(x)


def test_subclassed_models_are_refused():
    model = Subclassed()
    model(keras.ops.ones((1, 3)))
    with pytest.raises(ValueError, match="subclassed.*`head=`"):
        find_heads(model)
