"""Rules for layers that apply another one at every step, against layers that run."""

import keras
import pytest

from fixinit import theory
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


def test_gradients_of_steps():
    stack = [steps(layers.Dense, 64, "relu"), steps(layers.Dense, 64)]
    make = network(*stack, shape=(5, 32))
    row = theory.predict(make()).layers[0]
    measured, error = gradient_of_input(make, (5, 32))
    assert abs(row.gradient - measured) <= 4 * error + 0.05 * measured


@pytest.mark.parametrize(
    ("inner", "training", "says"),
    [
        (lambda: layers.BatchNormalization(), True, "its own batch"),
        (lambda: keras.Sequential([layers.Dense(4)]), False, "wraps the model"),
    ],
)
def test_uses_without_a_rule_are_said(inner, training, says):
    model = network(lambda: layers.TimeDistributed(inner()), shape=(5, 8))()
    with pytest.raises(theory.NoRuleError, match=says):
        theory.predict(model, training=training)
