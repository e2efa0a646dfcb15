import csv
import math
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import fixinit
from fixinit.diagnostics import Monitor, diagnose
from fixinit.diagnostics.doctor.alarm import Watch
from tests.marks import ON_TORCH, slow_on_tensorflow, slow_where_compiled

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


@slow_where_compiled
@pytest.mark.every_backend
def test_records_before_training_and_every_so_many_steps(tmp_path):
    path = tmp_path / "logs" / "blocks.csv"
    monitor = Monitor(X[:32], Y[:32], every=5, csv_path=path)
    model = compiled(0.01)
    start = diagnose(model, X[:32], Y[:32])
    fit(model, monitor)
    assert [step for step, _ in monitor.history] == [0, 1, 2, 4, 5, 8, 10, 15, 16]
    assert monitor.history[0][1].loss == pytest.approx(start.loss, rel=1e-5)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 4 and rows[16]["step"] == "5"
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


class Steps(keras.callbacks.Callback):
    """Means that `fit` logs, step by step."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(float(logs["loss"]))

    @property
    def lost(self):
        """The first step without a finite loss, or `None`."""
        finite = np.isfinite(self.means)
        return None if finite.all() else int(np.argmin(finite)) + 1


@slow_on_tensorflow
@pytest.mark.every_backend
def test_stops_before_the_loss_is_nan_and_names_the_block():
    model = compiled(1.0, "unnormalized", 6)
    monitor = Monitor(X[:32], Y[:32], check=False)
    with pytest.warns(RuntimeWarning, match="about to diverge.*learning rate"):
        history = fit(model, monitor, epochs=2)
    alarm = monitor.alarm
    assert alarm.where in [f"blocks[{i}]" for i in range(6)]
    assert (alarm.kind, alarm.severity) == ("exploding", "error")
    assert isinstance(alarm, fixinit.diagnostics.Finding)
    assert alarm.step <= 4 and math.isfinite(history.history["loss"][-1])
    assert len(history.history["loss"]) == 1


@pytest.mark.slow
def test_the_remedy_of_an_alarm_lets_the_network_train():
    model = compiled(1.0, "unnormalized", 6)
    monitor = Monitor(X[:32], Y[:32], action="none", check=False)
    fit(model, monitor, epochs=1)
    namespace = {"model": model, "keras": keras}
    exec(monitor.alarm.remedy, namespace)
    mended = Monitor(X[:32], Y[:32], check=False)
    losses = fit(namespace["model"], mended, epochs=8).history["loss"]
    assert mended.alarm is None and losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("blocks", [4, 8])
def test_every_divergence_is_announced_in_time(blocks, rate):
    model = compiled(rate, "unnormalized", blocks)
    monitor = Monitor(X[:32], Y[:32], action="none", check=False)
    steps = Steps()
    options = {"batch_size": 16, "epochs": 4, "verbose": 0, "shuffle": False}
    model.fit(X, Y, callbacks=[steps, monitor], **options)
    if steps.lost is not None:
        assert monitor.alarm.step < steps.lost
        # At the first jump, or where weights are ruined before there is any.
        assert max(steps.means[: monitor.alarm.step]) < 10 * steps.means[0]


@pytest.mark.slow
def test_learning_that_multiplies_activations_is_no_explosion():
    x = RNG.uniform(-1, 1, (256, 1)).astype("float32")
    y = 30 * np.sin(3 * x)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=False)
    model.layers[-1].kernel.assign(0.001 * model.layers[-1].kernel)
    monitor = Monitor(x[:32], y[:32], every=20)
    losses = model.fit(x, y, 32, 10, verbose=0, callbacks=[monitor]).history["loss"]
    last = monitor.history[-1][1].layers[-1].mean_square
    assert last > 1000 * monitor.history[0][1].layers[-1].mean_square
    assert monitor.alarm is None and losses[-1] < losses[0] / 3


def adam(rate):
    model = compiled(0.0)
    model.compile(keras.optimizers.Adam(rate), LOSS, jit_compile=False)
    return model


@slow_on_tensorflow
def test_a_jump_that_bounded_steps_recover_from_is_none():
    monitor = Monitor(X[:32], Y[:32], action="none", check=False)
    fit(adam(1.0), monitor)
    diagnoses = [diagnosis for _, diagnosis in monitor.history]
    first, last = diagnoses[0], diagnoses[-1]
    assert max(d.loss for d in diagnoses) > 10 * first.loss > last.loss
    grown = max(d.blocks[-1].mean_square for d in diagnoses)
    assert grown > 1000 * first.blocks[-1].mean_square
    assert monitor.alarm is None


@slow_on_tensorflow
@pytest.mark.every_backend
def test_weights_that_one_step_ruins_are_seen_before_the_loss():
    class Ruin(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 5:
                self.model.optimizer.learning_rate = 1e30

    model = compiled(0.01)
    monitor, steps = Monitor(X[:16], Y[:16], action="warn", check=False), Steps()
    with pytest.warns(RuntimeWarning, match="Step 6.*not finite"):
        model.fit(X, Y, 16, verbose=0, callbacks=[Ruin(), steps, monitor])
    assert steps.lost == 7 and monitor.alarm.kind == "not_finite"


@slow_where_compiled
@pytest.mark.every_backend
def test_warns_before_the_first_step_of_what_check_finds():
    model = compiled(1e4)
    monitor = Monitor(X[:32], Y[:32], action="warn")
    with pytest.warns(RuntimeWarning) as caught:
        fit(model, monitor, 1)
    kinds = [f.kind for f in monitor.findings if f.severity == "error"]
    assert "learning_rate_high" in kinds
    text = [str(w.message) for w in caught]
    assert all(sum(t.startswith(f"{kind}: ") for t in text) == 1 for kind in kinds)
    fit(model, monitor, 1)
    silent = Monitor(X[:32], Y[:32], action="none", check=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit(compiled(1e4), silent, 1)
    assert silent.findings == []


@pytest.mark.slow
@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="single steps only")
def test_counts_the_steps_of_one_execution():
    model = compiled(0.01)
    model.compile(keras.optimizers.SGD(0.01), LOSS, steps_per_execution=3)
    monitor = Monitor(X[:16], Y[:16], every=4)
    fit(model, monitor, epochs=2)  # executions end at 3, 6, 8, 11, 14, 16
    assert [step for step, _ in monitor.history] == [0, 3, 6, 8, 14, 16]


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


@slow_on_tensorflow
def test_measures_at_once_when_the_loss_jumps_late_in_an_epoch():
    losses = np.ones(900)
    losses[850:853] = 3, 9, 9
    early = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]
    late = [300, 512, 600, 851, 852, 900]
    assert measured_steps(losses, 300, 900) == early + late


@slow_on_tensorflow
def test_noisy_losses_cost_nothing():
    losses = np.random.default_rng(0).gamma(4, size=1500) * np.geomspace(1, 0.01, 1500)
    regular = {*range(0, 1501, 100), *(2**i for i in range(11))}
    assert len(measured_steps(losses, 100, 300)) <= len(regular) + 1


@pytest.mark.slow
def test_warns_once_and_goes_on():
    model = compiled(1.0, "unnormalized", 6)
    monitor = Monitor(X[:32], Y[:32], every=1, action="warn")
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


@pytest.fixture(scope="module")
def exploded():
    """Diagnoses of a network before and after its gradients explode."""
    model = compiled(0.0, "fixup")
    first = diagnose(model, X[:32], Y[:32])
    # The network's function stays what it is, up to a factor; its gradients explode.
    model.get_layer("head").kernel.assign(100 * RNG.normal(size=(16, 10)))
    return first, diagnose(model, X[:32], Y[:32])


@slow_on_tensorflow
def test_gradients_may_explode_behind_a_head_of_zeros(exploded):
    first, second = exploded
    watch = Watch(first, 100.0, every=8)
    assert looked(watch, 0, first) is None
    assert looked(watch, 1, second, next_step=0.9) is None
    alarm = looked(watch, 2, second, next_step=1.1)
    assert alarm.measure == "gradient_mean_square" and alarm.where == "blocks[3]"
    assert 100 < alarm.value < math.inf
    # Without an optimizer to try, the loss alone must be far away.
    assert looked(watch, 3, second, next_step=None) is None
    lost = looked(watch, 3, second, next_step=None, loss=1001 * first.loss)
    assert "about to diverge" in str(lost)


@slow_on_tensorflow
def test_a_jump_that_nothing_comes_back_from_is_an_alarm(exploded):
    first, second = exploded
    watch = Watch(first, 100.0, every=8)
    diagnoses = {0: first, 1: second, 6: first, 7: second, 14: second}
    for step, diagnosis in diagnoses.items():
        assert looked(watch, step, diagnosis, next_step=0.9) is None
    alarm = looked(watch, 15, second, next_step=0.9)
    assert "has not come back since step 7" in str(alarm)
    # Whatever grows, where the loss has not risen.
    assert looked(watch, 16, second, loss=9 * first.loss) is None


def looked(watch, step, diagnosis, next_step=2.0, loss=None):
    loss = diagnosis.loss if loss is None else loss
    return watch(step, diagnosis, loss, lambda: next_step, lambda size: "")


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
    assert [step for step, _ in monitor.history] == [0, 1, 2, 4, 6, 8, 12, 16]
    assert monitor.history[0][1] is first
    with path.open() as file:
        steps = [row["step"] for row in csv.DictReader(file)][::4]
    assert steps == ["0", "1", "2", "4", "6", "8", "12", "16"]
    fit(compiled(0.01), monitor, epochs=1)
    assert [step for step, _ in monitor.history] == [0, 1, 2, 4, 6, 8]


@pytest.mark.slow
def test_a_second_fit_takes_the_new_loss():
    model = compiled(0.0)
    monitor = Monitor(X[:16], Y[:16], every=8)
    fit(model, monitor, epochs=1)
    options = {"loss_weights": [3.0], "jit_compile": False}
    model.compile(keras.optimizers.SGD(0.0), LOSS, **options)
    fit(model, monitor, epochs=1)
    old, new = monitor.history[0][1], monitor.history[-1][1]
    assert monitor.history[-1][0] == 16
    assert new.loss == pytest.approx(3 * old.loss, rel=1e-5)


@slow_on_tensorflow
def test_plain_networks_are_watched_by_layer():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(10, name="head")(inputs))
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    monitor = Monitor(X[:16], Y[:16], every=8)
    fit(model, monitor, 1)
    assert [row.name for row in monitor.history[-1][1].layers][-1] == "head"


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
    assert [event.step for event in events.Tensors("growth/total")] == [0, 1, 2, 4, 8]


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


@slow_on_tensorflow
@pytest.mark.every_backend
def test_state_of_the_model_is_not_touched():
    model = compiled(0.0)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.weights]
    fit(model, Monitor(X[:16], Y[:16], every=1, measures=("update_to_weight",)), 1)
    for v, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v), value)


@ON_TORCH[0]
def test_a_batch_that_no_loss_takes_is_refused_with_the_reason():
    monitor = Monitor(X[:16], Y[:16] + 8)
    with pytest.warns(RuntimeWarning, match="label_range"):
        with pytest.raises(ValueError, match="Labels of `predictions` go from . to 17"):
            fit(compiled(0.01), monitor)
