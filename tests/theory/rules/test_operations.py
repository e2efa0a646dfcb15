"""Rules for operations of `keras.ops`, against operations that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import rest_on_torch
from tests.theory.measuring import check

layers = keras.layers


@rest_on_torch(
    "operation",
    [
        lambda x: keras.ops.maximum(x, 0.0),
        lambda x: keras.ops.maximum(x1=-0.5, x2=x),
        lambda x: keras.ops.minimum(1, x),
        lambda x: keras.ops.clip(x, -0.5, 1),
        lambda x: keras.ops.multiply(x1=2.0, x2=x),
        keras.ops.softmax,
        keras.ops.log_softmax,
        lambda x: keras.ops.power(x, 2),
        lambda x: keras.ops.log1p(keras.ops.abs(x)),
        lambda x: keras.ops.where(x > 0.5, x, keras.ops.sin(x)),
        lambda x: keras.ops.logaddexp(x, 0.0),
        lambda x: x / keras.ops.exp(x / 4),
        lambda x: keras.layers.Dense(512)(x) / (1 + keras.ops.square(x)),
        lambda x: keras.ops.sqrt(1 + keras.ops.square(x)),
    ],
    quick=4,
)
def test_operations_with_numbers_and_over_channels(operation):
    def make():
        x = keras.Input((64,))
        return keras.Model(x, operation(layers.Dense(512)(x)))

    check(make, (64,), 0.03)


@pytest.mark.parametrize(
    "operation, message",
    [
        (lambda x: 1 / x, "not finite"),
        (lambda x: x / keras.layers.Dense(8)(x), "not finite"),
        (keras.ops.cumsum, r"register\('Cumsum'\)`.*\(operation, setting, \*args"),
        (lambda x: keras.ops.softmax(x, axis=1), "other axes than the last"),
        (keras.ops.sqrt, "not finite"),
        (lambda x: keras.ops.sort(x, axis=1), r"register\('Sort'\)"),
    ],
)
def test_operations_that_are_not_known_are_refused(operation, message):
    x = keras.Input((6, 6, 8))
    with pytest.raises(theory.NoRuleError, match=message):
        theory.predict(keras.Model(x, operation(x)))
