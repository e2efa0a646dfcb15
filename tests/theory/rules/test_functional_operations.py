"""Rules for operations that normalize and pool, against operations that are run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.measuring import check, he

ops = keras.ops


def of(function, filters=128, activation="relu"):
    def make():
        x = keras.Input((8, 8, 16))
        return keras.Model(x, function(he(filters, activation=activation)()(x)))

    return make


_SCALE = np.linspace(0.5, 2.0, 128, dtype="float32")


@on_torch
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.rms_normalization(x, axis=-1),
        lambda x: ops.rms_normalization(x, scale=_SCALE, axis=-1),
        lambda x: ops.layer_normalization(x, axis=-1),
        lambda x: ops.layer_normalization(x, gamma=_SCALE, beta=_SCALE, axis=-1),
        lambda x: ops.normalize(x, axis=-1),
        lambda x: ops.max_pool(x, 2),
        lambda x: ops.average_pool(x, (3, 2), strides=1, padding="same"),
    ],
)
def test_moments(function):
    check(of(function), (8, 8, 16), 0.05)


def padded(x, value):
    return ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=value)


def test_padding_with_minus_infinity_is_never_the_maximum():
    row = check(
        of(lambda x: ops.max_pool(padded(x, -np.inf), 2), activation=None),
        (8, 8, 16),
        0.05,
    )
    zeros = of(lambda x: ops.max_pool(padded(x, 0.0), 2), activation=None)
    # The corners are single values, which zeros would cut off.
    assert row.mean < theory.predict(zeros()).layers[-1].mean


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: ops.rms_normalization(x, axis=(1, 2)), "over the last axis"),
        (lambda x: ops.normalize(x, order=1), "of order 2"),
        (lambda x: padded(x, np.inf), "not finite"),
    ],
)
def test_what_is_not_known_is_refused(function, message):
    with pytest.raises(theory.NoRuleError, match=message):
        theory.predict(of(function)())
