"""Functions that only their code describes."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from fixinit.theory.evaluation.evaluated import evaluated

X = np.linspace(-4, 4, 37)


def hard_swish(x):
    return x * ops.relu6(x + 3) / 6


def for_images_alone(x):
    assert len(x.shape) == 4
    return ops.tanh(x)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "function, expected",
    [
        (hard_swish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
        (lambda x: x * ops.sigmoid(1.702 * x), lambda x: x / (1 + np.exp(-1.702 * x))),
        (lambda x: ops.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, x, 0.1 * x)),
        (lambda x: ops.cast(x > 0, "float32"), lambda x: x > 0),
        (functools.partial(ops.leaky_relu, negative_slope=0.5), None),
        (for_images_alone, np.tanh),
        (keras.layers.ReLU(max_value=2.0), lambda x: np.clip(x, 0, 2)),
        (ops.ones_like, np.ones_like),
    ],
)
def test_functions_of_single_elements(function, expected):
    found = evaluated(function)
    assert found.acts_on_elements()
    if expected is not None:
        np.testing.assert_allclose(found.value(X), expected(X), atol=1e-5)
    # Away from the kinks.
    x, step = X + 0.01, 1e-3
    slope = (found.value(x + step) - found.value(x - step)) / (2 * step)
    np.testing.assert_allclose(found.partials(x)[0], slope, atol=2e-3)


def jittered(x):
    return x + 0.1 * keras.random.normal(x.shape)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "function",
    [
        keras.activations.softmax,
        lambda x: ops.softmax(x, axis=1),
        lambda x: x - ops.max(x),
        lambda x: x / (1e-3 + ops.mean(ops.square(x))),
        lambda x: x * ops.sigmoid(ops.mean(x, axis=-1, keepdims=True)),
        lambda x: x * ops.mean(x, axis=(1, 2), keepdims=True),
        lambda x: ops.cumsum(x, axis=-1),
        lambda x: ops.roll(x, 1, axis=0),
        lambda x: ops.flip(x, axis=-1),
        lambda x: ops.sort(x, axis=0),
        lambda x: x + ops.median(x),
        lambda x: ops.layer_normalization(x),
        lambda x: ops.mean(x, axis=-1),
        lambda x: ops.concatenate([x, -x], axis=-1),
        lambda x: x * np.linspace(0, 1, 8, dtype="float32"),
        lambda x: x * np.ones(5, "float32"),
        jittered,
        lambda x: "no tensor",
    ],
)
def test_functions_of_more_than_single_elements(function):
    assert evaluated(function) is None


def test_functions_of_two_arrays():
    found = evaluated(lambda a, b: ops.arctan2(a, b), count=2)
    a, b = X, X[::-1] ** 2 + 1
    np.testing.assert_allclose(found.value(a, b), np.arctan2(a, b), atol=1e-6)
    first, second = found.partials(a, b)
    np.testing.assert_allclose(first, b / (a**2 + b**2), atol=1e-6)
    np.testing.assert_allclose(second, -a / (a**2 + b**2), atol=1e-6)
    assert evaluated(lambda a, b: a - ops.mean(b), count=2) is None


@pytest.mark.every_backend
def test_looking_at_a_function_draws_nothing():
    keras.utils.set_random_seed(0)
    expected = ops.convert_to_numpy(keras.random.normal((3,)))
    keras.utils.set_random_seed(0)
    assert evaluated(jittered) is None
    found = ops.convert_to_numpy(keras.random.normal((3,)))
    np.testing.assert_array_equal(found, expected)
