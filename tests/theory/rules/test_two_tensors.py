"""Element-wise operations of two independent tensors, against operations that run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.calculus.measured_gradients import gradient_of_input
from tests.theory.measuring import check

layers, ops = keras.layers, keras.ops
WIDTH = 64
CASES = [
    lambda a, b, c: ops.where(a > 0.3, b, 0.5),
    lambda a, b, c: a / (1 + ops.square(b)),
    lambda a, b, c: ops.maximum(ops.relu(a), ops.tanh(b)),
    lambda a, b, c: ops.where(a > 0.3, ops.relu(b), c),
    lambda a, b, c: ops.where(a > 0, ops.tanh(a), ops.relu(b)),
    lambda a, b, c: ops.logaddexp(ops.relu(a), b),
    lambda a, b, c: layers.Minimum()([ops.relu(a), ops.sigmoid(b)]),
    lambda a, b, c: ops.power(1 + ops.sigmoid(a), b),
    lambda a, b, c: ops.cast(ops.greater(a, b), "float32"),
    lambda a, b, c: ops.divide(a, ops.softplus(b) + 1),
    lambda a, b, c: ops.logaddexp(a, ops.expand_dims(ops.mean(b, axis=1), 1)),
]


def model(join):
    def make():
        x = keras.Input((6, WIDTH))
        noise = keras.initializers.RandomNormal(stddev=0.5)
        y = layers.Dense(WIDTH, bias_initializer=noise)(x)
        parts = (layers.Dense(WIDTH)(y) for _ in range(3))
        return keras.Model(x, layers.Dense(WIDTH)(join(*parts)))

    return make


@on_torch
@pytest.mark.parametrize("join", CASES)
def test_two_tensors_are_integrated_over_both(join):
    check(model(join), (6, WIDTH), rtol=0.05)


@on_torch
@pytest.mark.parametrize("join", CASES[:7])
def test_gradients_of_two_tensors(join):
    make = model(join)
    measured, error = gradient_of_input(make, (6, WIDTH))
    predicted = theory.predict(make()).layers[0].gradient
    assert abs(predicted - measured) <= 4 * error + 0.05 * measured


def test_activations_in_front_have_their_gradients():
    x = keras.Input((WIDTH,))
    a, b = (layers.Dense(WIDTH, kernel_initializer="lecun_normal")(x) for _ in range(2))
    y = ops.where(layers.ReLU(name="relu")(a) > 10, a, layers.ReLU(name="other")(b))
    y = layers.Dense(WIDTH, kernel_initializer="lecun_normal")(y)
    rows = theory.predict(keras.Model(x, y))
    assert rows["other"].gradient == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(
    "join", [lambda a, b: a / b, lambda a, b: ops.power(ops.exp(a), b)]
)
def test_expectations_that_are_not_finite_are_refused(join):
    x = keras.Input((WIDTH,))
    y = join(layers.Dense(WIDTH)(x), layers.Dense(WIDTH)(x))
    with pytest.raises(theory.NoRuleError, match="not finite"):
        theory.predict(keras.Model(x, y))
