"""The recipe of very deep networks, on networks of a few layers."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from absl import flags

from recipes.common.data import datasets
from recipes.common.experiment import command_line, results
from recipes.common.plotting import figure as plots
from recipes.common.plotting import style
from recipes.common.training import families
from recipes.compare_stability import report
from recipes.ten_thousand_layers import __main__ as ten_thousand_layers
from recipes.ten_thousand_layers import trainer as deep_trainer
from recipes.ten_thousand_layers.settings import Settings

ROOT = pathlib.Path(ten_thousand_layers.__file__).parents[2]
FIGURES = ("variance_growth", "gradient_norms", "training_curves")


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """128 points in three classes that a plane each separates."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((128, 8)).astype("float32")
    y = (x @ rng.standard_normal((8, 3))).argmax(1)
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, x_train=x[:96], y_train=y[:96], x_test=x[96:], y_test=y[96:])
    return f"npz:{path}"


def _settings(npz, **changes):
    settings = {
        "dataset": npz,
        "layers": 30,
        "units": 8,
        "schemes": ("rezero",),
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 0.05,
        "warmup_epochs": 0,
    }
    return Settings(**(settings | changes))


def _run(settings, output_dir):
    data, directory = ten_thousand_layers.prepare(settings, output_dir)
    return ten_thousand_layers.run(settings, data, directory)


@pytest.fixture(autouse=True, scope="module")
def low_resolution():
    """Figures at a third of the resolution take half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.RC_PARAMS, "savefig.dpi", 70)
        yield


@contextlib.contextmanager
def no_xla():
    """XLA takes seconds to compile what these networks run for a moment."""
    original = deep_trainer.compile_model

    def compile_model(model, *arguments):
        original(model, *arguments)
        model.jit_compile = model.jit_compile and keras.backend.backend() == "jax"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep_trainer, "compile_model", compile_model)
        yield


@pytest.fixture
def without_xla():
    with no_xla():
        yield


@pytest.fixture
def without_drawing(monkeypatch):
    monkeypatch.setattr(plots, "draw_all", lambda *_: [])
    monkeypatch.setattr(report, "write_report", lambda content, drawn, path: path)


@pytest.fixture(scope="module")
def finished(npz, tmp_path_factory):
    settings = _settings(npz, layers=40, schemes=("fixup", "rezero"), epochs=4)
    path = tmp_path_factory.mktemp("finished")
    with no_xla():
        return settings, path, _run(settings, path)


@pytest.mark.slow
def test_network_learns_and_every_file_is_written(finished):
    settings, path, content = finished
    arm = content["arms"][1]
    assert arm["depth"] == 40 and arm["num_blocks"] == 19
    assert arm["diverged"] is None and len(arm["epochs"]) == 4
    losses = [epoch["train_loss"] for epoch in arm["epochs"]]
    assert losses[-1] < losses[0]
    initial = arm["initial"]
    assert len(initial["mean_square"]) == len(initial["predicted"]) == 20
    assert len(initial["branch_gradient_norms"]) == 19
    assert 0 < max(initial["branch_gradient_norms"]) < initial["gradient_norm"]
    assert results.load(path)["arms"] == content["arms"]
    assert len((path / "results.csv").read_text().splitlines()) == 3
    assert all((path / f"{name}.png").exists() for name in FIGURES)
    report = (path / "report.html").read_text()
    assert report.count('src="data:image/png;base64,') == 3
    assert "<script" not in report and "http" not in report


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla")
def test_he_initialization_alone_is_not_finite_before_the_first_step(npz, tmp_path):
    settings = _settings(npz, layers=600, units=32, schemes=("unnormalized",), epochs=1)
    (arm,) = _run(settings, tmp_path)["arms"]
    assert not np.isfinite(arm["initial"]["loss"])
    assert arm["diverged"]["step"] == 1 and arm["epochs"] == []
    mean_square = np.array(arm["initial"]["mean_square"], float)
    assert 0 < np.isfinite(mean_square).sum() < 299
    report = (tmp_path / "report.html").read_text()
    assert "activations of He init alone overflow in block" in report


@pytest.mark.slow
@pytest.mark.usefixtures("without_drawing")
def test_finished_networks_are_not_trained_again(finished, monkeypatch):
    settings, path, content = finished
    monkeypatch.setattr(ten_thousand_layers, "train", pytest.fail)
    assert _run(settings, path) == content


@pytest.mark.slow
@pytest.mark.usefixtures("without_xla", "without_drawing")
def test_a_run_goes_on_from_its_finished_networks(
    finished, npz, monkeypatch, without_cost
):
    settings, path, content = finished
    (path / "arms" / "fixup.json").unlink()
    kept = path / "arms" / "rezero.json"
    when = kept.stat().st_mtime_ns
    assert without_cost(_run(settings, path)) == without_cost(content) | {
        "finished": results.load(path)["finished"]
    }
    assert kept.stat().st_mtime_ns == when


# With XLA, as all of them are trained outside of these tests.
@pytest.mark.slow
def test_what_learns_nothing_is_stopped(npz, tmp_path):
    # A rate at which nothing moves, and two epochs to see it.
    settings = _settings(npz, learning_rate=1e-9, epochs=4, give_up_epochs=2)
    content = _run(settings, tmp_path)
    arm = content["arms"][0]
    assert arm["gave_up"] and arm["diverged"] is None
    assert len(arm["epochs"]) == 2
    assert "was stopped after epoch 2" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme, layers",
    [("rezero", 6), ("rezero", 10_000), ("batch_norm", 30), ("fixup", 100_000)],
)
def test_layers_are_counted_exactly(npz, scheme, layers):
    settings = _settings(npz, layers=layers, units=2)
    data = families.get("residual_mlp").adapt(datasets.load(npz))
    model = deep_trainer.build(settings, data, scheme)
    assert deep_trainer.weight_layers(model) == layers
    kernels = [v for v in model.trainable_variables if v.path.endswith("/kernel")]
    # Stem and head, and two kernels that hold those of all blocks.
    assert len(kernels) == 4
    assert {v.shape[0] for v in kernels if len(v.shape) == 3} == {settings.num_blocks}


def test_remat_depends_on_what_the_activations_take():
    assert Settings().remat_argument is None
    assert Settings(layers=10**6, units=64).remat_argument == "sqrt"
    assert Settings(layers=10**6, units=64, remat="none").remat_argument is None
    assert Settings(remat="block").remat_argument == "block"


@pytest.mark.slow
def test_remat_changes_nothing_but_memory(npz, tmp_path):
    contents = [
        _run(_settings(npz, remat=remat), tmp_path / remat)
        for remat in ("none", "sqrt")
    ]
    losses = [[e["train_loss"] for e in c["arms"][0]["epochs"]] for c in contents]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def _parse(*arguments):
    flag_values = flags.FlagValues()
    ten_thousand_layers.define_flags(flag_values)
    rest = flag_values(["recipe", *arguments])
    return flag_values, rest


def _asked(*arguments):
    flag_values, rest = _parse(*arguments)
    return command_line.parse(Settings, rest, flag_values)


def test_flags_default_to_the_settings():
    assert _asked() == Settings()
    assert Settings().layers == 10_000
    quick = _asked("--quick", "--epochs=7")
    assert quick.layers < 10_000 and quick.epochs == 7


def test_command_in_the_report_gives_the_same_settings_again():
    from recipes.common.experiment.report import _command

    settings = Settings(layers=30, schemes=("fixup",), global_clipnorm=0.0)
    words = _command(
        {"recipe": "ten_thousand_layers", "config": dataclasses.asdict(settings)}
    )
    words = words[words.index("recipes.ten_thousand_layers") + 1 :]
    assert _asked(*words) == settings


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--schemes=fixop"], "Did you mean 'fixup'"),
        (["--schemes="], "--schemes must not be empty"),
        (["--schemes=fixup,fixup"], "more than once"),
        (["--dataset=mnist2d"], "Did you mean 'mnist1d'"),
        (["--layers=31"], "30 and 32"),
        (["--layers=2"], "layers=2"),
        (["--learning_rate=0"], "--learning_rate=0"),
        (["--learning_rate=nan"], "--learning_rate=nan"),
        (["--global_clipnorm=-1"], "--global_clipnorm=-1"),
        (["--momentum=1"], "--momentum=1"),
        (["--epochs=3", "--warmup_epochs=3"], "below --epochs=3"),
        (["--remat=square"], "remat"),
        (["--units=0"], "units"),
        (["quick"], "Flags start with --"),
    ],
)
def test_mistakes_are_one_line_and_come_before_training(
    arguments, message, monkeypatch, tmp_path
):
    assert message in _main(monkeypatch, *arguments, f"--output_dir={tmp_path}")


def test_other_flags_in_the_same_directory_are_refused(npz, tmp_path, monkeypatch):
    ten_thousand_layers.prepare(_settings(npz), tmp_path)
    message = _main(monkeypatch, f"--dataset={npz}", f"--output_dir={tmp_path}")
    assert "layers (30 there, 10000 now)" in message


def _main(monkeypatch, *arguments):
    flag_values, rest = _parse(*arguments)
    monkeypatch.setattr(flags, "FLAGS", flag_values)
    monkeypatch.setattr(ten_thousand_layers, "run", pytest.fail)
    with pytest.raises(SystemExit) as error:
        ten_thousand_layers.main(rest)
    assert "\n" not in error.value.code
    return error.value.code


@pytest.mark.slow
def test_killed_and_started_again_it_ends_as_if_undisturbed(
    npz, tmp_path, without_cost
):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command = [
        *(sys.executable, "-m", "recipes.ten_thousand_layers", f"--dataset={npz}"),
        *("--layers=30", "--units=8", "--batch_size=32", "--epochs=3"),
        "--schemes=rezero,fixup",
    ]
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen([*command, f"--output_dir={killed}"], **options)
    while not list(killed.glob("arms/rezero.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for path in (killed, undisturbed):
        subprocess.run([*command, f"--output_dir={path}"], check=True, **options)
    arms = [results.load(path)["arms"] for path in (killed, undisturbed)]
    assert without_cost(arms[0]) == without_cost(arms[1])


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="takes minutes there")
def test_ten_thousand_layers_train_for_a_few_steps(npz, tmp_path):
    settings = _settings(npz, layers=10_000, units=4, epochs=1)
    (arm,) = _run(settings, tmp_path)["arms"]
    assert arm["depth"] == 10_000 and arm["diverged"] is None
    assert arm["epochs"][0]["train_loss"] < 2


@pytest.mark.slow
def test_help_explains_every_flag():
    command = [sys.executable, "-m", "recipes.ten_thousand_layers", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    for name in _parse()[0]:
        assert f"--{name}" in text or f"--[no]{name}" in text
