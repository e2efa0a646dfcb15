"""Functional models for batches of any size, made of such of one size."""

import keras
import numpy as np
import pytest
from keras import ops

from fixinit.graph.freeing import MARK, freed


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def model_of(function, *shape):
    inputs = keras.Input(batch_shape=(MARK, *shape))
    return keras.Model(inputs, function(inputs))


def masked(x):
    mask = ops.broadcast_to(ops.arange(4) < 2, (MARK, 4))
    return ops.where(mask, x, 0.0)


def folded(x):
    return ops.reshape(ops.reshape(x, (MARK, 2, 2)), (MARK, -1))


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("function", "expected"),
    [(masked, lambda x: x * [1, 1, 0, 0]), (folded, lambda x: x)],
)
def test_gives_the_same_for_other_batches(function, expected):
    model = freed(model_of(function, 4))
    assert model.input_shape == (None, 4)
    for batch in (1, 3):
        x = normal(batch, 4)
        y = ops.convert_to_numpy(model(x))
        np.testing.assert_allclose(y, expected(x), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * ops.expand_dims(ops.arange(MARK), 1), "differs from input"),
        (lambda x: ops.repeat(x, MARK, axis=1), "computes with the batch size"),
    ],
)
def test_refuses_what_depends_on_the_size(function, message):
    with pytest.raises(ValueError, match=message):
        freed(model_of(function, 4))
