import keras
import numpy as np
import pytest

from fixinit.diagnostics import diagnose
from tests.marks import on_torch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5)).astype("float32")
LABELS = RNG.integers(0, 3, size=16)
BITS = RNG.integers(0, 2, size=16)
FLOATS = RNG.normal(size=16).astype("float32")


def dense(units, activation=None):
    head = keras.layers.Dense(units, activation, kernel_initializer="ones", name="head")
    return keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(0.1), head])


def keras_loss(model, loss, y):
    return float(keras.losses.get(loss)(y, model(X)))


@on_torch
@pytest.mark.parametrize("shape", [(16,), (16, 1)])
@pytest.mark.parametrize(
    "activation, y, loss",
    [
        (None, FLOATS, keras.losses.MeanSquaredError()),
        ("sigmoid", FLOATS, keras.losses.MeanSquaredError()),
        ("sigmoid", BITS, keras.losses.BinaryCrossentropy()),
        ("sigmoid", BITS == 1, keras.losses.BinaryCrossentropy()),
    ],
)
def test_targets_of_one_unit(shape, activation, y, loss):
    model = dense(1, activation)
    expected = keras_loss(model, loss, y.reshape(-1, 1))
    diagnosis = diagnose(model, X, y.reshape(shape))
    assert diagnosis.loss == pytest.approx(expected, rel=1e-5)
    assert diagnosis.layers[-1].gradient_mean_square > 0


@on_torch
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_classes(one_hot, activation):
    model = dense(3, activation)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    expected = keras_loss(model, loss, LABELS)
    for y in [np.eye(3, dtype=int)[LABELS]] if one_hot else [LABELS, LABELS[:, None]]:
        assert diagnose(model, X, y).loss == pytest.approx(expected, rel=1e-5)


def test_classes_of_every_position():
    inputs = keras.Input((None, 5))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    x, y = X.reshape(2, 8, 5), LABELS.reshape(2, 8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(loss(y, model(x)))
    assert diagnose(model, x, y).loss == pytest.approx(expected, rel=1e-5)


def test_probabilities_of_a_nested_model_are_no_logits():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, dense(3, "softmax")(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy()
    expected = keras_loss(model, loss, LABELS)
    assert diagnose(model, X, LABELS).loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "model, y, message",
    [
        (dense(1), BITS, "one unit.*from_logits=True.*'mse'"),
        (dense(1, "sigmoid"), LABELS, "classes from 0 to 1.*from 0 to 2"),
        (dense(2), LABELS, "classes from 0 to 1.*`head`.*from 0 to 2"),
        (dense(3), LABELS - 1, "classes from 0 to 2.*from -1 to 1"),
        (dense(3), np.ones((16, 3), int), "not one-hot.*loss="),
        (dense(3), FLOATS, r"shape \(16,\).*labels must be integers"),
        (dense(3), np.ones((16, 2), int), r"shape \(16, 2\).*`head`.*\(None, 3\)"),
    ],
)
def test_refuses_what_has_no_default(model, y, message):
    with pytest.raises(ValueError, match=f"Argument `y`.*{message}"):
        diagnose(model, X, y)


def test_any_targets_do_with_a_loss():
    model = dense(1)
    assert diagnose(model, X, BITS, loss="mse").loss == pytest.approx(
        keras_loss(model, keras.losses.MeanSquaredError(), BITS[:, None]), rel=1e-5
    )
