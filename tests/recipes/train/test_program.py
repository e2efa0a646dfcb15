"""The training recipe on networks and data so small that a run takes a second."""

import csv
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import h5py
import keras
import numpy as np
import pytest
from absl import flags

from recipes.common.experiment.results import load
from recipes.common.training.callbacks import TrainingDiverged
from recipes.train import __main__ as program
from recipes.train import run as train
from recipes.train import run_directory
from recipes.train.settings import Settings
from tests.marks import mostly_on_torch, slow_on_tensorflow
from tests.recipes.damage import mutations

ROOT = pathlib.Path(train.__file__).parents[2]


@pytest.fixture(autouse=True)
def restored_dtype_policy():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished run, `(settings, directory, results)`, for all who only look at it."""
    settings, directory = small(data), tmp_path_factory.mktemp("finished")
    return settings, directory, train.run(settings, directory)


@pytest.fixture
def copied(finished, tmp_path):
    """The same for those who change it."""
    settings, directory, results = finished
    return settings, shutil.copytree(directory, tmp_path / "copy"), results


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """96 points in three classes that a plane each separates."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((96, 8)).astype("float32")
    y = (x @ rng.standard_normal((8, 3))).argmax(1)
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x[:31], y_test=y[:31])
    return f"npz:{path}"


def small(data, **changes):
    settings = {
        "dataset": data,
        "model": "residual_mlp",
        "depth": 4,
        "epochs": 8,
        "batch_size": 16,
        "mixup_alpha": 1.0,
    }
    return Settings(**(settings | changes))


def weights(directory):
    """Weights and the optimizer's state at the end of a run, by name."""
    (path,) = directory.glob("checkpoint-*.h5")
    arrays = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(collect)
    return arrays


def assert_same_run(actual, expected):
    np.testing.assert_equal(weights(actual), weights(expected))
    rows = [history(directory) for directory in (actual, expected)]
    for row in sum(rows, []):
        del row["seconds"]
    assert rows[0] == rows[1]


def history(directory):
    with (directory / "history.csv").open() as file:
        return list(csv.DictReader(file))


def cli(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "recipes.train", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background hands on that it is ignored.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def as_flags(settings):
    values = {k: getattr(settings, k) for k in settings.__dataclass_fields__}
    return [f"--{k}={v}" for k, v in values.items() if v is not None]


def call_main(monkeypatch, *arguments):
    values = flags.FlagValues()
    program.define_flags(values)
    values(["train", *arguments])
    monkeypatch.setattr(program.flags, "FLAGS", values)
    return program.main(["train"])


@pytest.mark.slow
def test_run_learns_and_writes_its_files(finished):
    _, directory, results = finished
    assert results["metrics"]["test_accuracy"] > 0.8
    assert load(directory) == results
    assert results["settings"]["seed"] == 0 and "keras" in results["environment"]
    lines = (directory / "history.csv").read_text().splitlines()
    assert lines[0].startswith("epoch,learning_rate,seconds,train_")
    assert [row.split(",")[0] for row in lines[1:]] == list("12345678")


@pytest.mark.slow
def test_same_seed_gives_the_same_run(data, tmp_path):
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        train.run(small(data, seed=seed, epochs=1), tmp_path / name)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "a", tmp_path / "c")


@mostly_on_torch(
    "moment, changes",
    [
        ("write_history", {}),
        ("save_checkpoint", {"mixed_precision": "mixed_float16", "warmup_epochs": 1}),
        (
            "save_checkpoint",
            {"scheme": "batch_norm", "gradient_accumulation_steps": 4},
        ),
        (
            "save_checkpoint",
            {
                "scheme": "normalizer_free",
                "clipping": 0.1,
                "drop_rate": 0.2,
                "stochastic_depth_rate": 0.3,
                "label_smoothing": 0.1,
                "ema_momentum": 0.9,
            },
        ),
    ],
    slow=1,
)
def test_interrupted_run_ends_as_an_undisturbed_one(
    data, finished, tmp_path, monkeypatch, moment, changes
):
    settings, undisturbed, _ = finished
    if changes:
        settings, undisturbed = small(data, epochs=3, **changes), tmp_path / "other"
        train.run(settings, undisturbed)

    def interrupted(self, *arguments):
        # In the second epoch: one is finished.
        if self.finished_epochs() == 1:
            raise KeyboardInterrupt
        original(self, *arguments)

    original = getattr(run_directory.RunDirectory, moment)
    with monkeypatch.context() as patch:
        patch.setattr(run_directory.RunDirectory, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.run(settings, tmp_path / "resumed")
    train.run(settings, tmp_path / "resumed")
    assert_same_run(tmp_path / "resumed", undisturbed)


def test_finished_run_is_not_trained_again(copied):
    settings, directory, first = copied
    assert train.run(settings, directory) == first


@slow_on_tensorflow
@pytest.mark.every_backend
def test_averaged_weights_are_tested_and_saved(data, tmp_path):
    momentum = 0.8
    settings = small(data, epochs=4, ema_momentum=momentum, steps_per_epoch=1)
    kept = []

    class KeepWeights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(self.model.get_weights())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "tensorboard", lambda path: [KeepWeights()])
        results = train.run(settings, tmp_path)
    average = kept[0]
    for found in kept[1:]:
        pairs = zip(average, found, strict=True)
        average = [momentum * a + (1 - momentum) * w for a, w in pairs]
    model = keras.models.load_model(tmp_path / "model.keras")
    for actual, expected in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    with np.load(data.removeprefix("npz:")) as file:
        x, y = file["x_test"], file["y_test"]
    scores = keras.ops.convert_to_numpy(model(x))
    accuracy = np.mean(scores.argmax(-1) == y)
    assert results["metrics"]["test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    # Started again, a finished run writes the same model.
    train.run(settings, tmp_path)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_equal(again.get_weights(), model.get_weights())


@pytest.mark.slow
def test_other_settings_in_the_same_directory_are_an_error(data, copied):
    _, directory, _ = copied
    with pytest.raises(ValueError, match=r"learning_rate \(0.1 there, 0.2 now\)"):
        train.run(small(data, learning_rate=0.2), directory)
    train.run(small(data, learning_rate=0.2), directory, restart=True)


def test_truncated_checkpoint_is_named(copied):
    settings, directory, _ = copied
    (checkpoint,) = directory.glob("checkpoint-*.h5")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match=checkpoint.name):
        train.run(settings, directory)


def test_history_that_lost_rows_is_written_again(copied, capsys):
    settings, directory, first = copied
    lines = (directory / "history.csv").read_text().splitlines(keepends=True)
    (directory / "history.csv").write_text("".join(lines[:2]))
    assert train.run(settings, directory) == first
    assert "did not hold what arms/ has of the 8" in capsys.readouterr().err
    assert (directory / "history.csv").read_text() == "".join(lines)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("config.json", "cut"),
        ("config.json", "gone"),
        ("arms/epoch-00002.json", "changed"),
        ("arms/epoch-00002.json", "gone"),
        ("checkpoint-00008.weights.h5", "flipped"),
        ("checkpoint-00008.weights.h5", "gone"),
        ("checkpoint-00008.weights.h5.sha256", "empty"),
    ],
)
def test_damaged_file_ends_the_program_with_one_line(
    copied, monkeypatch, capsys, name, kind
):
    settings, directory, _ = copied
    rng = np.random.default_rng(0)
    damaged = mutations.damaged(directory / name, [], rng, kind)
    mutations.write(directory / name, damaged)
    arguments = [*as_flags(settings), f"--output_dir={directory}"]
    assert call_main(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and name.split("/")[-1] in line
    assert "--restart" in line or "--output_dir" in line


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line(data, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_directory.RunDirectory, "save_checkpoint", interrupted)
    arguments = [*as_flags(small(data)), f"--output_dir={tmp_path}"]
    assert call_main(monkeypatch, *arguments) == 130
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train: interrupted. Give the same command again")
    assert str(tmp_path) in line


@pytest.mark.slow
def test_second_command_is_told_who_holds_the_directory(data, tmp_path):
    arguments = [*as_flags(small(data, epochs=20_000)), f"--output_dir={tmp_path}"]
    first = cli(*arguments)
    while not list(tmp_path.glob("checkpoint-*.h5")):
        assert first.poll() is None
        time.sleep(0.01)
    second = cli(*arguments, "--restart")
    _, err = second.communicate()
    assert second.returncode == 1
    line = err.strip().splitlines()[-1]
    assert line.startswith("error: ") and f"process {first.pid} on" in line
    assert list(tmp_path.glob("checkpoint-*.h5"))
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130 and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("train: interrupted.")


@pytest.mark.slow
def test_divergence_keeps_the_epochs_that_are_finished(data, tmp_path, monkeypatch):
    original = train.TrainingBatches.epoch

    def spoiled(self, epoch):
        for x, y in original(self, epoch):
            yield (np.full_like(x, np.nan) if epoch == 1 else x), y

    monkeypatch.setattr(train.TrainingBatches, "epoch", spoiled)
    with pytest.raises(TrainingDiverged, match="of epoch 2.*--learning_rate"):
        train.run(small(data), tmp_path)
    (checkpoint,) = tmp_path.glob("checkpoint-*.h5")
    assert checkpoint.name == "checkpoint-00001.weights.h5"
    assert all(np.isfinite(array).all() for array in weights(tmp_path).values())
    (row,) = history(tmp_path)
    assert row["epoch"] == "1" and np.isfinite(float(row["train_loss"]))
    assert not (tmp_path / "results.json").exists()
    assert not (tmp_path / "model.keras").exists()


def test_learning_rate_that_is_far_too_large_is_an_error(data, tmp_path):
    settings = small(data, learning_rate=1e9, scheme="unnormalized")
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        train.run(settings, tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))


@mostly_on_torch("policy", ["mixed_bfloat16", "mixed_float16"], slow=1)
def test_half_precision_trains(data, tmp_path, policy):
    settings = small(data, epochs=8, mixup_alpha=0.0, mixed_precision=policy)
    metrics = train.run(settings, tmp_path)["metrics"]
    assert metrics["test_accuracy"] > 0.8


@pytest.mark.slow
def test_tensorboard_logs_are_written(finished):
    import tensorboard  # noqa: F401  The extra `recipes` holds it.

    assert list((finished[1] / "tensorboard" / "validation").iterdir())


@pytest.mark.slow
def test_final_model_loads_in_a_fresh_process(finished, tmp_path):
    program = """
        import sys, fixinit, keras, numpy as np
        model = keras.models.load_model(sys.argv[1])
        outputs = model(np.ones((2, 8), "float32"), training=False)
        np.save(sys.argv[2], keras.ops.convert_to_numpy(outputs))
    """
    model, outputs = str(finished[1] / "model.keras"), str(tmp_path / "outputs.npy")
    command = [sys.executable, "-c", textwrap.dedent(program), model, outputs]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    here = keras.models.load_model(model)(np.ones((2, 8), "float32"), training=False)
    expected = keras.ops.convert_to_numpy(here)
    np.testing.assert_allclose(np.load(outputs), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset=digit"], "'digits'"),
        (["--dataset=npz:absent.npz"], "absent.npz"),
        # Before the data set is loaded, which may be a download.
        (["--dataset=npz:absent.npz", "--scheme=fixpu"], "'fixup'"),
        (["--dataset=npz:absent.npz", "--model=cifar_resent"], "'cifar_resnet'?"),
        (["--dataset=digits", "--depth=21"], "20 and 26"),
        (["--dataset=digits", "--model=imagenet_resnet"], "total stride"),
        (["--dataset=DATA", "--model=cifar_resnet", "--batch_size=8"], "spatial axes"),
        (["--dataset=DATA", "--augment=flip", "--batch_size=8"], "--augment=none"),
        (["--dataset=DATA", "--cutmix_alpha=1", "--batch_size=8"], "--cutmix_alpha=0"),
        (["--dataset=digits", "--model=nfnet"], "total stride"),
        (["--dataset=digits", "--learning_rate=-1"], "--learning_rate"),
        (["--dataset=digits", "--learning_rate=nan"], "--learning_rate"),
        (["--dataset=digits", "--weight_decay=-1"], "--weight_decay"),
        (["--dataset=digits", "--epochs=0"], "--epochs"),
        (["--dataset=digits", "--epochs=5", "--warmup_epochs=5"], "--warmup_epochs"),
        (["--dataset=digits", "--batch_size=2000"], "--batch_size=2000"),
        (["--dataset=digits", "--depth=8", "--output_dir=FILE"], "FILE"),
    ],
)
def test_bad_input_is_one_line_before_training(
    arguments, message, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("FILE").touch()
    arguments = [a.replace("DATA", data) for a in arguments]
    assert call_main(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and message in line
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.slow
def test_command_killed_and_given_again_ends_as_an_undisturbed_run(data, tmp_path):
    settings = small(data, epochs=20)
    process = cli(*as_flags(settings), f"--output_dir={tmp_path / 'killed'}")
    while not list(tmp_path.glob("killed/checkpoint-*.h5")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()
    for name in ("killed", "undisturbed"):
        process = cli(*as_flags(settings), f"--output_dir={tmp_path / name}")
        out, err = process.communicate()
        assert process.returncode == 0, err
    assert "Test accuracy" in out
    assert_same_run(tmp_path / "killed", tmp_path / "undisturbed")


TWO_CPUS = """
    import sys
    if "tensorflow" in sys.argv:
        import tensorflow as tf
        cpu, = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    from recipes.train.run import run
    from recipes.train.settings import Settings
    settings = Settings(dataset=sys.argv[1], model="residual_mlp", depth=4, epochs=2,
                        batch_size=16, scheme="unnormalized")
    results = run(settings, sys.argv[2])
    assert results["num_devices"] == int(sys.argv[3]), results
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_two_devices_train_as_one_does(backend, data, tmp_path):
    pytest.importorskip(backend)
    metrics = []
    for devices in (1, 2):
        jax_flags = f"--xla_force_host_platform_device_count={devices}"
        configure = [backend] if devices == 2 else []
        directory = tmp_path / str(devices)
        command = [sys.executable, "-c", textwrap.dedent(TWO_CPUS), data]
        process = subprocess.run(
            [*command, str(directory), str(devices), *configure],
            cwd=ROOT,
            env=os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": jax_flags},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        results = json.loads((directory / "results.json").read_text())
        # The loss of a test batch counts samples that only fill it up.
        del results["metrics"]["test_loss"], results["metrics"]["seconds"]
        metrics.append(results["metrics"])
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)


@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param("fixup", marks=pytest.mark.slow),
        pytest.param("batch_norm", marks=pytest.mark.evidence),
    ],
)
def test_digits_reach_96_percent(scheme, tmp_path):
    settings = Settings(dataset="digits", depth=20, epochs=30, scheme=scheme)
    assert train.run(settings, tmp_path)["metrics"]["test_accuracy"] >= 0.96
