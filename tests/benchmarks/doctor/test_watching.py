"""Trainings under a monitor."""

import keras
import numpy as np
import pytest

from benchmarks.doctor import watching


def test_losses_are_those_of_the_steps():
    loss = watching.Loss()
    for step, mean in enumerate([4.0, 3.0, 2.0]):
        loss.on_train_batch_end(step, {"loss": mean})
    assert loss.losses == [4.0, 2.0, 0.0]
    assert loss.lost is None
    assert loss.learns
    loss.on_train_batch_end(3, {"loss": np.nan})
    loss.on_train_batch_end(4, {"loss": np.nan})
    assert loss.lost == 4
    assert not loss.learns


def test_a_start_is_restored_with_the_rate(repaired):
    model, x, y = repaired()
    start = watching.Start(model)
    before = [np.array(w) for w in model.get_weights()]
    model.optimizer.learning_rate = 7.0
    model.fit(x, y, verbose=0)
    start.restore()
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    assert int(model.optimizer.iterations) == 0


def test_a_rate_that_is_too_high_loses_the_loss():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    start = watching.Start(model)
    calm = watching.watch(model, x, x[:, :1], batch=16, steps=40, seed=0)
    assert calm["alarm"] is calm["lost"] is None
    assert calm["learns"]
    start.restore()
    run = watching.watch_divergence(model, x, x[:, :1], 16, 40, 0, factor=1000.0)
    assert 2 < run["lost"] < 40
    assert not run["learns"]
    # The rate is 50, and the first loss that of the same weights.
    assert run["first_loss"] == pytest.approx(calm["first_loss"])
