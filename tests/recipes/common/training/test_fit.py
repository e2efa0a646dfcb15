import dataclasses
import types

import keras
import numpy as np
import pytest

from recipes.common.data import datasets
from recipes.common.training import families
from recipes.common.training.fit import fit

SETTINGS = types.SimpleNamespace(epochs=3, batch_size=50, seed=0)


@pytest.mark.slow
def test_the_network_learns_and_the_seed_decides_the_order():
    data = families.get("residual_mlp").adapt(datasets.load("digits"))
    data = dataclasses.replace(
        data, x_train=data.x_train[:200], y_train=data.y_train[:200]
    )
    weights = []
    for seed in (0, 0, 1):
        SETTINGS.seed = seed
        model = families.residual_mlp(data, 2, 16, seed=0)
        fit(model, data, keras.optimizers.Adam(0.01), SETTINGS)
        weights.append(model.get_weights())
    first, again, other = (np.concatenate([w.ravel() for w in ws]) for ws in weights)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    guesses = model.predict(data.x_train, verbose=0).argmax(axis=1)
    assert np.mean(guesses == data.y_train) > 0.5
