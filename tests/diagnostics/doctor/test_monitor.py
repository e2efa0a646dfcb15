import csv
import math
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import Monitor, diagnose

RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 8)).astype("float32")
Y = RNG.integers(10, size=128)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(learning_rate, scheme="scaled_residual", num_blocks=4):
    model = fixinit.models.ResidualMLP(
        num_blocks, 16, scheme=scheme, input_shape=(8,), seed=0, stacked=True
    )
    # XLA takes seconds to compile what it then runs for a moment.
    model.compile(keras.optimizers.SGD(learning_rate), LOSS, jit_compile=False)
    return model


def fit(model, monitor, epochs=2):
    options = {"batch_size": 16, "epochs": epochs, "verbose": 0, "shuffle": False}
    return model.fit(X, Y, callbacks=[monitor], **options)


@pytest.mark.every_backend
def test_records_before_training_and_every_so_many_steps(tmp_path):
    path = tmp_path / "logs" / "blocks.csv"
    monitor = Monitor(X[:32], Y[:32], every=5, csv_path=path)
    model = compiled(0.01)
    start = diagnose(model, X[:32], Y[:32])
    fit(model, monitor)
    assert [step for step, _ in monitor.history] == [0, 5, 10, 15]
    assert monitor.history[0][1].loss == pytest.approx(start.loss, rel=1e-5)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 4 and rows[4]["step"] == "5"
    last = float(rows[-1]["mean_square"])
    assert last == monitor.history[-1][1].blocks[-1].mean_square


@pytest.mark.slow
def test_measures_the_weights_of_the_moment():
    model = compiled(0.1)
    monitor = Monitor(X[:32], Y[:32], every=16)
    fit(model, monitor)
    end = diagnose(model, X[:32], Y[:32])
    assert monitor.history[-1][1].loss == pytest.approx(end.loss, rel=1e-4)
    assert monitor.history[-1][1].loss < 0.95 * monitor.history[0][1].loss


@pytest.mark.slow
@pytest.mark.every_backend
def test_training_is_what_it_is_without():
    losses = []
    for callbacks in ([], [Monitor(X[:16], Y[:16], every=1)]):
        model = compiled(0.05, "batch_norm")
        options = {"batch_size": 16, "verbose": 0, "shuffle": False}
        losses += model.fit(X, Y, callbacks=callbacks, **options).history["loss"]
    assert losses[0] == losses[1]


def test_stops_before_the_loss_is_nan_and_names_the_block():
    model = compiled(3.0, "unnormalized", 6)
    monitor = Monitor(X[:32], Y[:32], explosion=100.0)
    with pytest.warns(RuntimeWarning, match="about to diverge.*learning rate"):
        history = fit(model, monitor, epochs=50)
    assert monitor.alarm.block in [f"blocks[{i}]" for i in range(6)]
    assert monitor.alarm.step < 50 * 8
    assert len(history.history["loss"]) < 50


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="single steps only")
def test_counts_the_steps_of_one_execution():
    model = compiled(0.01)
    model.compile(keras.optimizers.SGD(0.01), LOSS, steps_per_execution=3)
    monitor = Monitor(X[:16], Y[:16], every=4)
    fit(model, monitor, epochs=2)  # executions end at 3, 6, 8, 11, 14, 16
    assert [step for step, _ in monitor.history] == [0, 6, 8, 14, 16]


def measured_steps(losses, every=100, epoch_steps=1000):
    """Steps at which a monitor measures, where batches have these losses."""
    model = compiled(0.01)
    monitor = Monitor(X[:16], Y[:16], every=every, keep=True)
    monitor.set_model(model)
    monitor.set_params({"steps": epoch_steps})
    monitor.on_train_begin()
    for start in range(0, len(losses), epoch_steps):
        monitor.on_epoch_begin(0)
        batches = losses[start : start + epoch_steps]
        means = np.cumsum(batches) / np.arange(1, len(batches) + 1)
        for batch, mean in enumerate(means):
            monitor.on_train_batch_end(batch, {"loss": np.float32(mean)})
    return [step for step, _ in monitor.history]


def test_measures_at_once_when_the_loss_jumps_late_in_an_epoch():
    losses = np.ones(900)
    losses[850:853] = 3, 9, 9
    assert measured_steps(losses, 300, 900) == [0, 300, 600, 851, 852, 900]


def test_noisy_losses_cost_nothing():
    losses = np.random.default_rng(0).gamma(4, size=1500) * np.geomspace(1, 0.01, 1500)
    regular = list(range(0, 1501, 100))
    assert len(measured_steps(losses, 100, 300)) <= len(regular) + 1


@pytest.mark.slow
def test_warns_once_and_goes_on():
    model = compiled(3.0, "unnormalized", 6)
    monitor = Monitor(X[:32], Y[:32], every=1, action="warn", explosion=100.0)
    with pytest.warns(RuntimeWarning) as caught:
        history = fit(model, monitor, epochs=2)
    assert len([w for w in caught if "has grown" in str(w.message)]) == 1
    assert len(history.history["loss"]) == 2


@pytest.mark.slow
def test_no_alarm_where_training_is_stable():
    monitor = Monitor(X[:32], Y[:32], every=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit(compiled(0.05, "fixup"), monitor)
    assert monitor.alarm is None


@pytest.mark.slow
def test_steps_away_from_a_head_of_zeros_are_no_explosion():
    model = compiled(0.001, "fixup")
    monitor = Monitor(X[:32], Y[:32], every=1, action="none", explosion=20.0)
    fit(model, monitor, epochs=4)
    first, last = (
        monitor.history[i][1].blocks[0].gradient_mean_square for i in (1, -1)
    )
    assert last > 20 * first > 0
    assert monitor.alarm is None


@pytest.mark.slow
def test_gradients_may_explode_behind_a_head_of_zeros():
    model = compiled(0.0, "fixup")
    monitor = Monitor(X[:32], Y[:32], every=8, action="none", explosion=100.0)
    fit(model, monitor, epochs=1)
    assert monitor.alarm is None
    # The network's function stays what it is, up to a factor; its gradients explode.
    model.get_layer("head").kernel.assign(100 * RNG.normal(size=(16, 10)))
    fit(model, monitor, epochs=1)
    assert monitor.alarm.measure == "gradient_mean_square"
    assert 100 < monitor.alarm.growth < math.inf


@pytest.mark.slow
def test_a_model_that_has_diverged_is_said_to_have():
    model = compiled(0.01)
    model.get_layer("head").kernel.assign(np.full((16, 10), np.nan))
    with pytest.warns(RuntimeWarning, match="Step 0.*not finite: the model has div"):
        fit(model, Monitor(X[:16], Y[:16]), epochs=1)


@pytest.mark.slow
def test_a_second_fit_goes_on(tmp_path):
    path = tmp_path / "blocks.csv"
    model = compiled(0.01)
    monitor = Monitor(X[:16], Y[:16], every=6, csv_path=path)
    fit(model, monitor, epochs=1)
    first = monitor.history[0][1]
    fit(model, monitor, epochs=1)
    assert [step for step, _ in monitor.history] == [0, 6, 12]
    assert monitor.history[0][1] is first
    with path.open() as file:
        assert [row["step"] for row in csv.DictReader(file)][::4] == ["0", "6", "12"]
    fit(compiled(0.01), monitor, epochs=1)
    assert [step for step, _ in monitor.history] == [0, 6]


@pytest.mark.slow
def test_a_second_fit_takes_the_new_loss():
    model = compiled(0.0)
    monitor = Monitor(X[:16], Y[:16], every=8)
    fit(model, monitor, epochs=1)
    options = {"loss_weights": [3.0], "jit_compile": False}
    model.compile(keras.optimizers.SGD(0.0), LOSS, **options)
    fit(model, monitor, epochs=1)
    (_, old), _, (_, new) = monitor.history
    assert new.loss == pytest.approx(3 * old.loss, rel=1e-5)


def test_plain_networks_are_watched_by_layer():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(10, name="head")(inputs))
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    monitor = Monitor(X[:16], Y[:16], every=8)
    fit(model, monitor, 1)
    assert [row.name for row in monitor.history[1][1].layers][-1] == "head"


@pytest.mark.slow
@pytest.mark.every_backend
def test_writes_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = Monitor(X[:16], Y[:16], every=8, log_dir=tmp_path, keep=False)
    fit(compiled(0.01), monitor, 1)
    assert monitor.history == []
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()["tensors"]
    assert "mean_square/blocks[3]" in tags and "growth/rate" in tags
    assert [event.step for event in events.Tensors("growth/total")] == [0, 8]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"every": 0}, "every"),
        ({"measures": ("variances",)}, "measures.*variance"),
        ({"action": "halt"}, "action.*stop"),
        ({"explosion": 1.0}, "explosion.*above 1"),
        ({"explosion": math.nan}, "explosion"),
    ],
)
def test_refuses_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Monitor(X, Y, **arguments)


@pytest.mark.every_backend
def test_state_of_the_model_is_not_touched():
    model = compiled(0.0)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.weights]
    fit(model, Monitor(X[:16], Y[:16], every=1, measures=("update_to_weight",)), 1)
    for v, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v), value)
