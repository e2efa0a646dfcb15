"""Rules for activation layers, against layers that are run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import slow_on_tensorflow, slow_where_compiled
from tests.theory.measuring import check, he, network

layers = keras.layers


@slow_on_tensorflow
@pytest.mark.every_backend
@pytest.mark.parametrize(
    "activation",
    [
        layers.ReLU,
        lambda: layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2),
        layers.LeakyReLU,
        layers.PReLU,
        lambda: layers.ELU(0.5),
        layers.Softmax,
        lambda: layers.Activation("glu"),
        lambda: layers.Activation("log_softmax"),
        lambda: layers.Dense(512, activation=layers.LeakyReLU(0.3)),
        lambda: layers.Dense(512, kernel_initializer="identity"),
        lambda: layers.Dense(512, kernel_initializer="orthogonal"),
        lambda: layers.Dense(512, bias_initializer="ones"),
    ],
    ids=lambda make: make().name,
)
def test_activation_layers(activation):
    first = lambda: layers.Dense(512, kernel_initializer="lecun_normal")  # noqa: E731
    make = network(first, activation, shape=(64,))
    check(make, (64,), 0.03)


def test_sparsemax_sums_to_one():
    model = keras.Sequential([keras.Input((512,)), layers.Activation("sparsemax")])
    row = theory.predict(model, input_variance=2.0).layers[-1]
    assert row.mean == pytest.approx(1 / 512)
    assert row.mean_square > 10 / 512**2


def hard_swish(x):
    return x * keras.ops.relu6(x + 3) / 6


def mish(x):
    return x * keras.ops.tanh(keras.ops.log(1 + keras.ops.exp(x)))


def leaky(x):
    return keras.ops.where(x > 0, x, 0.2 * x)


class HardSwish(layers.Layer):
    def call(self, x, training=None):
        return hard_swish(x)


OWN = {"hard_silu": hard_swish, "mish": mish, "leaky_relu": leaky}


def predicted(act):
    x = inputs = keras.Input((6, 6, 8))
    for index in range(3):
        x = act(he(16, name=f"conv{index}")()(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="end")(x))
    prediction = theory.predict(model, input_correlation=0.3)
    rows = [prediction["end"], prediction["conv1"], prediction["conv0"]]
    return np.array(
        [[r.mean, r.mean_square, r.variance, r.correlation, r.gradient] for r in rows]
    )


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize("name", OWN)
def test_functions_of_ones_own_are_as_those_of_keras(name):
    expected = predicted(layers.Activation(name))
    function = OWN[name]
    for act in (
        layers.Activation(function),
        layers.Activation(lambda x: function(x)),
        function,  # as a chain of operations
    ):
        np.testing.assert_allclose(predicted(act), expected, rtol=2e-3, atol=1e-6)
    gain = theory.activation_gain(layers.Activation(name))
    own = theory.activation_gain(layers.Dense(4, activation=function, name="own"))
    assert own == pytest.approx(gain, rel=1e-4)


def test_a_layer_of_ones_own_that_acts_on_elements():
    expected = predicted(layers.Activation("hard_silu"))
    np.testing.assert_allclose(predicted(HardSwish()), expected, rtol=2e-3, atol=1e-6)


def test_a_function_that_is_zero_at_zero_but_for_rounding_has_a_gain():
    shifted = layers.Activation(lambda x: keras.ops.softplus(x) - 0.6931471805599453)
    assert theory.activation_gain(shifted) > 1.5
    assert theory.activation_gain(layers.Activation(keras.ops.softplus)) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: keras.ops.softmax(x, axis=1),
        lambda x: x * keras.ops.sigmoid(keras.ops.mean(x, axis=-1, keepdims=True)),
        lambda x: x - keras.ops.max(x),
        lambda x: x + keras.random.normal((8,)),
    ],
)
def test_functions_that_mix_elements_are_refused(function):
    model = keras.Sequential([keras.Input((6, 8)), layers.Activation(function)])
    with pytest.raises(theory.NoRuleError, match="input at their own place"):
        theory.predict(model)


@pytest.mark.parametrize("function", [keras.ops.log, lambda x: 1 / x])
def test_functions_without_finite_moments_are_refused(function):
    model = keras.Sequential([keras.Input((8,)), layers.Activation(function)])
    with pytest.raises(theory.NoRuleError, match="not finite"):
        theory.predict(model)
