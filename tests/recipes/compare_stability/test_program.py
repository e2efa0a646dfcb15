import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags

from recipes.common.experiment import results
from recipes.common.plotting import figure as plots
from recipes.compare_stability import __main__ as compare_stability
from recipes.compare_stability import report as comparison_report
from recipes.compare_stability.settings import Settings

ROOT = pathlib.Path(compare_stability.__file__).parents[2]
SCHEMES = ("unnormalized", "batch_norm")


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.npz"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)
    np.savez(path, x_train=x[:64], y_train=y[:64], x_test=x[64:], y_test=y[64:])
    return f"npz:{path}"


@pytest.fixture
def no_drawing(monkeypatch):
    return _without_drawing(monkeypatch)


def _without_drawing(monkeypatch):
    """Plots and report have tests of their own."""
    drawn = []
    monkeypatch.setattr(
        plots, "draw_all", lambda *arguments: drawn.append(arguments[2])
    )
    monkeypatch.setattr(
        comparison_report, "write_report", lambda content, figures, path: path
    )
    return drawn


def _settings(npz, **overrides):
    return Settings(
        dataset=npz,
        units=8,
        batch_size=16,
        **{
            "schemes": SCHEMES,
            "depths": (4,),
            "learning_rates": (0.01, 0.1),
            "more_rates": 0,
            "seeds": (0, 1),
            "map_epochs": 1,
            "epochs": 2,
            **overrides,
        },
    )


def _run(settings, output_dir):
    data, directory = compare_stability.prepare(settings, output_dir)
    return compare_stability.run(settings, data, directory)


@pytest.fixture(scope="module")
def finished(npz, tmp_path_factory):
    """A run with a rate that diverges: settings, directory, results, what it drew."""
    settings = _settings(npz, learning_rates=(0.1, 1e6))
    path = tmp_path_factory.mktemp("finished") / "out"
    with pytest.MonkeyPatch.context() as patch:
        drawn = _without_drawing(patch)
        return settings, path, _run(settings, path), drawn


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run to change: settings, directory, results."""
    settings, path, content, _ = finished
    return settings, shutil.copytree(path, tmp_path / "out"), content


@pytest.mark.slow
def test_every_arm_is_there_and_divergence_is_recorded(finished):
    _, path, content, drawn = finished
    arms = content["arms"]
    # Two rates and two seeds for two schemes.
    assert len(arms) == len({arm["id"] for arm in arms}) == 8
    for arm in arms:
        assert bool(arm["diverged"]) == (arm["learning_rate"] == 1e6)
    assert results.load(path)["arms"] == arms
    assert len((path / "results.csv").read_text().splitlines()) == 9
    assert drawn == [path]


@pytest.mark.slow
def test_a_run_goes_on_from_its_finished_arms(copied, no_drawing, without_cost, capsys):
    settings, path, undisturbed = copied
    arms = path / "arms"
    # Of one scheme, for which one network is compiled.
    lost = [arm["id"] for arm in undisturbed["arms"] if "unnormalized" in arm["id"]]
    lost = lost[1::2]
    for arm_id in lost:
        (arms / f"{arm_id}.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in arms.iterdir()}
    resumed = _run(settings, path)
    assert without_cost(resumed["arms"]) == without_cost(undisturbed["arms"])
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert "diverged at step 2: loss" in capsys.readouterr().out


def test_a_finished_run_is_drawn_again_without_training(
    copied, no_drawing, monkeypatch
):
    settings, path, first = copied
    monkeypatch.setattr("recipes.compare_stability.comparison.Trainer", None)
    assert _run(settings, path) == first
    assert no_drawing == [path]


def _main(monkeypatch, *arguments):
    flag_values = flags.FlagValues()
    compare_stability.define_flags(flag_values)
    rest = flag_values(["recipe", *arguments])
    monkeypatch.setattr(flags, "FLAGS", flag_values)
    monkeypatch.setattr(compare_stability, "run", pytest.fail)
    with pytest.raises(SystemExit) as error:
        compare_stability.main(rest)
    assert "\n" not in error.value.code
    return error.value.code


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--schemes=fixop"], "Did you mean 'fixup'"),
        (["--dataset=mnist2d"], "Did you mean 'mnist1d'"),
        (["--depths=11"], "10 and 12"),
        (["--model=cifar_resnet", "--dataset=mnist1d"], "residual_mlp"),
        (["--model=wide_resnet", "--units=24", "--dataset=digits"], "--units=24"),
        (["quick"], "Flags start with --"),
    ],
)
def test_mistakes_are_one_line_and_come_before_training(
    arguments, message, monkeypatch, tmp_path
):
    assert message in _main(monkeypatch, *arguments, f"--output_dir={tmp_path}")


def test_other_flags_in_the_same_directory_are_refused(npz, tmp_path, monkeypatch):
    compare_stability.prepare(_settings(npz), tmp_path / "out")
    arguments = [f"--dataset={npz}", "--units=8", f"--output_dir={tmp_path}/out"]
    message = _main(monkeypatch, *arguments)
    assert "batch_size (16 there, 125 now)" in message and "units" not in message


def test_directory_that_cannot_be_written_is_refused(npz, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    arguments = [f"--dataset={npz}", f"--output_dir={tmp_path}/file/out"]
    assert "--output_dir" in _main(monkeypatch, *arguments)


def _command(npz, output_dir):
    return [
        *(sys.executable, "-m", "recipes.compare_stability", f"--dataset={npz}"),
        *("--units=8", "--batch_size=16", "--depths=4,6", "--seeds=0,1"),
        *("--learning_rates=0.01,0.1", "--more_rates=0", "--map_epochs=1"),
        *("--epochs=2",),
        *(f"--schemes={','.join(SCHEMES)}", f"--output_dir={output_dir}"),
    ]


@pytest.mark.slow
def test_killed_and_started_again_it_ends_as_if_undisturbed(
    npz, tmp_path, without_cost
):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    options = {"cwd": ROOT, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(_command(npz, killed), **options)
    while not list(killed.glob("arms/map-*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "results.json").exists()
    subprocess.run(_command(npz, killed), check=True, **options)
    subprocess.run(_command(npz, undisturbed), check=True, **options)
    contents = [results.load(path) for path in (killed, undisturbed)]
    arms = [without_cost(content["arms"]) for content in contents]
    assert len(arms[0]) == 16
    assert arms[0] == arms[1]
    assert (killed / "report.html").exists()


@pytest.mark.slow
def test_help_explains_every_flag():
    command = [sys.executable, "-m", "recipes.compare_stability", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    flag_values = flags.FlagValues()
    compare_stability.define_flags(flag_values)
    for name in flag_values:
        assert f"--{name}" in text or f"--[no]{name}" in text


@pytest.mark.slow
def test_a_mistake_ends_the_program_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "recipes.compare_stability", "--schemes=fixop"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Did you mean 'fixup'" in done.stderr
    assert "Traceback" not in done.stderr
