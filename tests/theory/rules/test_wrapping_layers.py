"""Rules for layers that apply another one at every step, against layers that run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.calculus.measured_gradients import gradient_of_input
from tests.theory.measuring import check, network

layers = keras.layers
STEPS = (5, 6, 6, 8)


def steps(layer, *args, **options):
    return lambda: layers.TimeDistributed(layer(*args, **options))


@pytest.mark.parametrize(
    "stack",
    [
        [
            steps(
                layers.Conv2D, 64, 3, activation="relu", kernel_initializer="he_normal"
            )
        ],
        # What steps have in common stays in the average over them.
        [
            steps(layers.Conv2D, 64, 3, activation="relu"),
            steps(layers.GlobalAveragePooling2D),
            layers.GlobalAveragePooling1D,
        ],
        [steps(layers.Flatten), steps(layers.Dense, 64), steps(layers.ReLU)],
    ],
)
def test_layers_at_every_step(stack):
    check(network(*stack, shape=STEPS), STEPS, rtol=0.06)


def test_steps_that_are_alike():
    stack = [lambda: layers.RepeatVector(4), steps(layers.Dense, 64, "tanh")]
    stack.append(layers.GlobalAveragePooling1D)
    check(network(*stack, shape=(16,)), (16,), rtol=0.06)


@on_torch
def test_gradients_of_steps():
    stack = [steps(layers.Dense, 64, "relu"), steps(layers.Dense, 64)]
    make = network(*stack, shape=(5, 32))
    row = theory.predict(make()).layers[0]
    measured, error = gradient_of_input(make, (5, 32))
    assert abs(row.gradient - measured) <= 4 * error + 0.05 * measured


def encoder():
    """A small convolutional network with a shortcut."""
    inputs = keras.Input(STEPS[1:])
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = x + layers.Conv2D(32, 3, padding="same", activation="tanh")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def stack():
    return keras.Sequential([layers.Flatten(), layers.Dense(64), layers.ReLU()])


@on_torch
@pytest.mark.parametrize("model", [encoder, stack])
@pytest.mark.parametrize("after", [layers.GlobalAveragePooling1D, layers.Flatten])
def test_models_at_every_step(model, after):
    parts = [lambda: layers.TimeDistributed(model()), after]
    check(network(*parts, shape=STEPS), STEPS, rtol=0.06)


@on_torch
def test_gradients_of_models_at_every_step():
    make = network(lambda: layers.TimeDistributed(stack()), shape=STEPS)
    row = theory.predict(make()).layers[0]
    measured, error = gradient_of_input(make, STEPS)
    assert abs(row.gradient - measured) <= 4 * error + 0.05 * measured


def test_a_model_that_is_applied_twice_keeps_its_weights():
    x, layer = keras.Input(STEPS), layers.TimeDistributed(stack())
    net = keras.Model(x, layers.Add()([layer(x), layer(-x)]))
    with pytest.raises(theory.NoRuleError, match="same weights"):
        theory.predict(net)


@pytest.mark.parametrize(
    ("inner", "training", "says"),
    [
        (lambda: layers.BatchNormalization(), True, "its own batch"),
        (lambda: keras.Sequential([layers.BatchNormalization()]), True, "own batch"),
    ],
)
def test_uses_without_a_rule_are_said(inner, training, says):
    model = network(lambda: layers.TimeDistributed(inner()), shape=(5, 8))()
    with pytest.raises(theory.NoRuleError, match=says):
        theory.predict(model, training=training)
