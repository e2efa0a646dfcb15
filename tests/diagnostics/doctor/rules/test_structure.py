import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    BINARY,
    CLASSES,
    NUMBERS,
    RNG,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
    net,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

SPARSE = "sparse_categorical_crossentropy"


def chain(*middle, shape=(6,), last=1, loss="mse"):
    return compiled(
        keras.Sequential([keras.Input(shape), *middle, layers.Dense(last)]), loss
    )


def test_linear_layers_behind_each_other():
    model = chain(layers.Dense(16, name="first"), layers.Dense(16, name="second"))
    # Which code must write as a floating-point number.
    model.compile(keras.optimizers.SGD(1.0), "mse")
    after, _, _ = mended(
        "no_nonlinearity", model, X, NUMBERS, severity="error", where="first", value=2.0
    )
    assert after.get_layer("first").activation is keras.activations.relu


@pytest.mark.parametrize(
    "between",
    [
        layers.BatchNormalization(),
        layers.Dropout(0.1),
        layers.Activation("linear"),
        layers.LeakyReLU(negative_slope=1.0),
        layers.Reshape((4, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_does_not_help_between_them(between):
    model = chain(layers.Dense(16), between, layers.Flatten())
    mended("no_nonlinearity", model, X, NUMBERS)


@pytest.mark.parametrize(
    "between",
    [
        layers.ReLU(),
        layers.Activation("tanh"),
        layers.LayerNormalization(),
        layers.PReLU(),
        layers.LeakyReLU(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_not_linear_between_them(between):
    model = chain(layers.Dense(16), between)
    assert not found("no_nonlinearity", model, X, NUMBERS)


def test_convolutions_without_activations():
    model = compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(32, 3, name="first"),
                layers.Conv2D(16, 3, name="second"),
                layers.Flatten(),
                layers.Dense(4, "softmax"),
            ]
        ),
        SPARSE,
    )
    x = RNG.normal(size=(32, 8, 8, 3)).astype("float32")
    mended("no_nonlinearity", model, x, CLASSES[:32], where="first", value=2.0)


def test_a_factorized_layer_is_meant():
    for units in (2, 6):  # The latter as in MobileNetV3.
        model = chain(layers.Dense(units), layers.Dense(16), layers.ReLU())
        assert not found("no_nonlinearity", model, X, NUMBERS)


def test_kernels_of_several_positions_are_no_factorization():
    inputs = keras.Input((8, 8, 3))
    h = layers.Conv2D(16, 3, name="first")(inputs)
    h = layers.ReLU()(layers.Conv2D(16, 3)(layers.BatchNormalization()(h)))
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling2D()(h)))
    x = RNG.normal(size=(16, 8, 8, 3)).astype("float32")
    (finding,) = found("no_nonlinearity", compiled(model, "mse"), x, NUMBERS[:16])
    assert finding.where == "first"


def test_one_linear_layer_is_a_regression():
    model = compiled(keras.Sequential([keras.Input((6,)), layers.Dense(1)]), "mse")
    assert claims(model, X, NUMBERS) == []


def test_functional_models_and_branches():
    inputs = keras.Input((6,))
    h = layers.Dense(16, name="first")(inputs)
    both = keras.ops.relu(h) + h
    model = compiled(keras.Model(inputs, layers.Dense(1)(both)), "mse")
    assert not found("no_nonlinearity", model, X, NUMBERS)


class Own(keras.Model):
    """Two linear layers, in a model of a class of one's own."""

    def __init__(self, activation=None):
        super().__init__()
        self.first = layers.Dense(16, activation, name="first")
        self.second = layers.Dense(1, name="second")

    def call(self, x):
        return self.second(self.first(x))


def test_models_of_a_class_of_ones_own():
    model = compiled(Own(), "mse")
    model(X)
    mended("no_nonlinearity", model, X, NUMBERS, where="first")
    healthy = compiled(Own("relu"), "mse")
    healthy(X)
    assert claims(healthy, X, NUMBERS) == []


def test_sigmoids_in_a_row():
    model = chain(*(layers.Dense(16, "sigmoid", name=f"s{i}") for i in range(3)))
    after, _, _ = mended(
        "hidden_activation",
        model,
        X,
        NUMBERS,
        severity="warning",
        where="s0",
        value=3.0,
    )
    assert after.get_layer("s1").activation is keras.activations.relu


def test_sigmoids_as_layers():
    row = [layer for _ in range(3) for layer in (layers.Dense(16), "sigmoid")]
    row = [layers.Activation(x) if isinstance(x, str) else x for x in row]
    mended("hidden_activation", chain(*row), X, NUMBERS, severity="warning")


def test_two_sigmoids_and_gates_are_no_finding():
    model = chain(layers.Dense(16, "sigmoid"), layers.Dense(16, "sigmoid"))
    assert not found("hidden_activation", model, X, NUMBERS)
    x = RNG.normal(size=(16, 7, 6)).astype("float32")
    lstm = chain(
        layers.LSTM(8, return_sequences=True),
        layers.LSTM(8, return_sequences=True),
        layers.LSTM(8),
        shape=(7, 6),
    )
    assert not found("hidden_activation", lstm, x, NUMBERS[:16])


def test_a_softmax_between_layers():
    model = chain(layers.Dense(16, "softmax", name="hidden"))
    mended("hidden_activation", model, X, NUMBERS, where="hidden")


def test_the_softmax_of_attention_is_no_finding():
    inputs = keras.Input((6, 8))
    h = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(h)))
    x = RNG.normal(size=(16, 6, 8)).astype("float32")
    assert not found("hidden_activation", compiled(model, "mse"), x, NUMBERS[:16])


def test_batch_normalization_of_one_sample():
    model = chain(layers.Dense(16), layers.BatchNormalization(name="bn"), layers.ReLU())
    (finding,) = found("normalization_batch", model, X[:1], NUMBERS[:1])
    assert (finding.severity, finding.where, finding.value) == ("error", "bn", 1.0)
    (finding,) = found("normalization_batch", model, X[:4], NUMBERS[:4])
    assert (finding.severity, finding.value) == ("warning", 4.0)
    assert not found("normalization_batch", model, X[:8], NUMBERS[:8])
    # Statistics that are not those of the batch.
    model.get_layer("bn").trainable = False
    assert not found("normalization_batch", model, X[:1], NUMBERS[:1])


def test_batch_normalization_of_few_images_has_many_numbers():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    x = RNG.normal(size=(2, 8, 8, 3)).astype("float32")
    model = compiled(model, "binary_crossentropy")
    assert not found("normalization_batch", model, x, np.array([[0.0], [1.0]]))


def test_nothing_is_said_of_ordinary_networks():
    assert claims(net(layers.Dense(1, "sigmoid")), X, BINARY.astype(int)) == []


def test_linear_layers_at_every_step():
    steps = [layers.TimeDistributed(layers.Dense(8)) for _ in range(2)]
    model = chain(*steps, layers.Flatten(), shape=(4, 6))
    x = RNG.normal(size=(64, 4, 6)).astype("float32")
    (finding,) = found("no_nonlinearity", model, x, NUMBERS)
    assert finding.where == steps[0].name


def test_activations_that_are_evaluated_keep_no_penalty():
    activations = [layers.Activation("tanh"), layers.ReLU(), layers.LeakyReLU(0.1)]
    for layer in activations:
        layer.activity_regularizer = keras.regularizers.L2(1e-3)
    model = chain(layers.Dense(8), *activations, layers.Dense(8), activations[0])
    assert found("no_nonlinearity", model, X, NUMBERS) == [] == model.losses
