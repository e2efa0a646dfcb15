"""Largest eigenvalue of the Hessian, against the dense one by differences."""

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import LossCurvature, loss_curvature
from fixinit.diagnostics.geometry import WeightFunction
from tests.marks import slow_on_tensorflow

RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(16, n)).astype("float32") for n in (3, 2))


def network():
    draw = keras.initializers.RandomNormal(stddev=0.7, seed=0)
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, "tanh", kernel_initializer=draw)(inputs)
    draw = keras.initializers.RandomNormal(stddev=0.7, seed=1)
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=draw)(h))


def dense_hessian(model, y, step=1e-2):
    """Central differences of the gradient, one column for every weight."""
    function = WeightFunction(model, X, y, "mse")
    weights = [ops.convert_to_numpy(w) for w in function.own_weights()]
    columns = []
    for i, weight in enumerate(weights):
        for j in range(weight.size):
            sides = []
            for sign in (1, -1):
                moved = [np.array(w) for w in weights]
                moved[i].reshape(-1)[j] += sign * step
                _, g = function.loss_and_gradients(list(map(ops.array, moved)))
                sides.append([ops.convert_to_numpy(part).reshape(-1) for part in g])
            difference = np.concatenate(sides[0]) - np.concatenate(sides[1])
            columns.append(difference.astype("float64") / (2 * step))
    return np.stack(columns)


@pytest.mark.every_backend
@pytest.mark.parametrize("scale", [1.0, 20.0], ids=["convex", "saddle"])
def test_largest_eigenvalue_is_that_of_the_dense_hessian(scale):
    model = network()
    values = np.linalg.eigvalsh(dense_hessian(model, scale * Y))
    found = loss_curvature(model, X, scale * Y, "mse", tolerance=1e-4)
    # Differences are exact to the square of their step.
    assert found.largest == pytest.approx(values[-1], rel=5e-3)
    assert found.norm == pytest.approx(np.abs(values).max(), rel=5e-3)
    assert found.error < 1e-3 * found.norm
    assert (found.norm > 1.01 * found.largest) == (-values[0] > 1.01 * values[-1])


def test_least_squares_diverges_where_it_overshoots():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    y = np.zeros((16, 1), "float32")
    found = loss_curvature(model, X, y, "mse")
    matrix = 2 * X.T.astype("float64") @ X / 16
    assert found.largest == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-3)
    assert found.overshoot(2 / found.largest) == pytest.approx(1)
    for rate, grows in ((1.9 / found.largest, False), (2.1 / found.largest, True)):
        power = np.linalg.matrix_power(np.eye(3) - rate * matrix, 200)
        assert (np.abs(power).max() > 1) == grows


def test_a_concave_loss_has_a_negative_largest_eigenvalue():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))

    def loss(y, h):
        return -ops.square(h)

    found = loss_curvature(model, X, np.zeros((16, 1), "float32"), loss)
    matrix = -2 * X.T.astype("float64") @ X / 16
    values = np.linalg.eigvalsh(matrix)
    assert found.largest == pytest.approx(values[-1], rel=1e-3)
    assert found.norm == pytest.approx(-values[0], rel=1e-3)


@slow_on_tensorflow
@pytest.mark.every_backend
def test_stacks_have_second_derivatives():
    found = []
    for stacked in (False, True):
        model = fixinit.models.ResidualMLP(
            2, 8, scheme="rezero", input_shape=(3,), stacked=stacked, seed=0
        )
        y = np.arange(16) % 10
        found.append(loss_curvature(model, X, y, tolerance=1e-3).largest)
    assert found[1] == pytest.approx(found[0], rel=1e-2)


def test_overshoot_is_half_the_rate_times_the_eigenvalue():
    assert LossCurvature(3.0, 0.0, 3.0).overshoot(0.1) == pytest.approx(0.15)
