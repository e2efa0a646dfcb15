"""What the tests of measurements share."""

import contextlib

import keras
import numpy as np
import pytest


@pytest.fixture
def untouched():
    """A context in which nothing that a model holds may change."""

    def state(model):
        variables = list(model.variables)
        if getattr(model, "optimizer", None) is not None:
            variables += model.optimizer.variables
        seed = keras.src.random.seed_generator.global_seed_generator().state
        values = [keras.ops.convert_to_numpy(v.value) for v in [*variables, seed]]
        values = [np.array(v) for v in values]
        if keras.backend.backend() == "torch":
            import torch

            values.append(torch.random.get_rng_state().numpy())
        return [*values, np.random.get_state()[1].copy()]

    @contextlib.contextmanager
    def check(model):
        before = state(model)
        yield
        for old, new in zip(before, state(model), strict=True):
            np.testing.assert_array_equal(old, new)

    return check


@pytest.fixture
def noisy_model():
    """A compiled model with everything that has a state, after a step of training."""
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    model.train_on_batch(x.astype("float32"), y.astype("float32"))
    return model
