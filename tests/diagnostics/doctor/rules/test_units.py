import keras
import numpy as np
import pytest

from tests.diagnostics.doctor.rules.programs import (
    NUMBERS,
    RNG,
    X,
    claims,
    compiled,
    found,
    layers,
    mended,
)
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


def mlp(activation="relu", bias=0.0, size=1.0, units=32):
    """Two hidden layers, the second with a bias and a scale of its kernel."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(units, "relu", name="first"),
            layers.Dense(units, name="dense"),
            layers.Activation(activation, name="last"),
            layers.Dense(1, name="head"),
        ]
    )
    layer = model.get_layer("dense")
    layer.bias.assign(np.full(units, bias))
    layer.kernel.assign(layer.kernel * size)
    return compiled(model, "mse")


def test_rectifiers_that_are_zero():
    after, _, _ = mended(
        "dead_units",
        mlp(bias=-50.0),
        X,
        NUMBERS,
        severity="error",
        where="last",
        value=1.0,
    )
    bias = keras.ops.convert_to_numpy(after.get_layer("dense").bias)
    assert np.abs(bias).max() < 0.01  # after a step


@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "silu", "gelu", "elu", "leaky_relu"]
)
def test_units_as_drawn_are_no_finding(activation):
    assert claims(mlp(activation), X, NUMBERS) == []
    # They have a slope wherever they are.
    if activation in ("elu", "leaky_relu"):
        assert not found("dead_units", mlp(activation, bias=-1.0), X, NUMBERS)


def test_rectifiers_inside_of_a_layer():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(32, "relu", name="h"), layers.Dense(1)]
    )
    model.get_layer("h").bias.assign(np.full(32, -50.0))
    mended("dead_units", compiled(model, "mse"), X, NUMBERS, where="h")


def test_dead_channels_of_a_convolution():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(16, 3, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1),
        ]
    )
    x = RNG.normal(size=(16, 8, 8, 3)).astype("float32")
    assert not found("dead_units", compiled(model, "mse"), x, NUMBERS[:16])
    model.get_layer("bn").beta.assign(np.full(16, -50.0))
    mended("dead_units", model, x, NUMBERS[:16], severity="error", where="relu")


def test_all_of_a_few_units():
    mended("dead_units", mlp(bias=-50.0, units=2), X, NUMBERS, where="last")
    model = mlp(units=2)
    model.get_layer("dense").bias.assign([-50.0, 0.0])
    assert not found("dead_units", model, X, NUMBERS)
    # Of one sample, two units may both be zero by chance.
    one = mlp(bias=-50.0, units=2)
    assert not found("dead_units", one, X[:1], NUMBERS[:1])


def test_a_few_dead_units_are_no_finding():
    model = mlp()
    bias = np.zeros(32)
    bias[:16] = -50
    model.get_layer("dense").bias.assign(bias)
    assert not found("dead_units", model, X, NUMBERS)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_saturated_units(activation):
    model = mlp(activation, size=3000.0)
    (finding,) = found("saturated", model, X, NUMBERS)
    assert finding.severity == "warning" and finding.where == "last"
    assert finding.value > 0.8
    mended("saturated", model, X, NUMBERS)
    assert not found("saturated", mlp(activation, size=2.0), X, NUMBERS)


def test_units_that_large_inputs_saturate():
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, "tanh", name="h"), layers.Dense(1)]
    )
    mended("saturated", compiled(model, "mse"), 500 * X, NUMBERS, where="h")


def test_the_last_activation_may_saturate():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(1, "sigmoid")])
    x = 500 * X
    y = (X[:, :1] > 0).astype("float32")
    assert not found("saturated", compiled(model, "binary_crossentropy"), x, y)


def test_gates_that_are_shut():
    def gated(bias):
        inputs = keras.Input((6,))
        start = keras.initializers.Constant(bias)
        gate = layers.Dense(8, "sigmoid", bias_initializer=start, name="gate")(inputs)
        h = layers.Multiply()([gate, layers.Dense(8, "relu")(inputs)])
        return compiled(keras.Model(inputs, layers.Dense(1)(h)), "mse")

    mended("saturated", gated(-20.0), X, NUMBERS, severity="warning", where="gate")
    assert not found("saturated", gated(-3.0), X, NUMBERS)
