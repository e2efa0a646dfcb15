"""Tensors whose numbers are known, and tokens that are looked up."""

import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.theory.calculus.known import known

layers = keras.layers


def test_moments_of_an_array_are_those_of_its_numbers():
    x = np.random.default_rng(0).standard_normal((3, 5, 7))
    y = known(x)
    assert y.mean_value == pytest.approx(x.mean())
    assert y.mean_square == pytest.approx(np.mean(x**2))
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    crossed = np.mean([x[i, 2] * x[j, 4] for i, j in pairs])
    assert y.cross[0, 2 * 5 + 4] == pytest.approx(crossed)


def test_positions_have_the_same_embedding_in_all_inputs():
    tokens = keras.Input((6,), dtype="int32")
    places = keras.ops.zeros_like(tokens) + np.arange(6)
    embedded = [
        layers.Embedding(100, 32, name=name)(x)
        for name, x in (("words", tokens), ("places", places))
    ]
    found = theory.predict(keras.Model(tokens, layers.Add(name="sum")(embedded)))
    assert found["words"].correlation == pytest.approx(0, abs=1e-9)
    assert found["places"].correlation == pytest.approx(1)
    assert found["sum"].correlation == pytest.approx(0.5)


def test_one_token_everywhere_leaves_nothing_to_vary():
    tokens = keras.Input((6,), dtype="int32")
    same = layers.Embedding(100, 32, name="e")(keras.ops.zeros_like(tokens))
    row = theory.predict(keras.Model(tokens, same))["e"]
    assert row.variance == pytest.approx(0, abs=1e-12)
    assert row.mean_square == pytest.approx(0.1**2 / 12)
