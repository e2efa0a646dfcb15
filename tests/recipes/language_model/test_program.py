"""The recipe on networks and texts so small that a run takes a second."""

import csv

import h5py
import keras
import numpy as np
import pytest
from absl import flags

from recipes.common.experiment.results import load
from recipes.common.training.callbacks import TrainingDiverged
from recipes.language_model import __main__ as program
from recipes.language_model import run as training
from recipes.language_model.run_directory import RunDirectory
from recipes.language_model.settings import SAMPLING, Settings
from tests.marks import ON_TORCH

pytestmark = ON_TORCH


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text("the cat sat on the mat.\n" * 100, encoding="utf-8")
    return f"text:{path}"


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A finished run, `(settings, directory, results)`, for all who only look at it."""
    settings, directory = small(dataset), tmp_path_factory.mktemp("finished")
    return settings, directory, training.run(settings, directory)


def small(dataset, **changes):
    settings = {
        "dataset": dataset,
        "length": 16,
        "num_blocks": 2,
        "width": 32,
        "num_heads": 2,
        "epochs": 2,
        "steps_per_epoch": 20,
        "batch_size": 8,
        "learning_rate": 0.01,
        "dropout_rate": 0.1,
        "stochastic_depth_rate": 0.1,
        "prompt": "the c",
        "samples": 2,
    }
    return Settings(**(settings | changes))


def assert_same_run(actual, expected):
    np.testing.assert_equal(weights(actual), weights(expected))
    rows = [history(directory) for directory in (actual, expected)]
    for row in sum(rows, []):
        del row["seconds"], row["train_tokens_per_second"]
    assert rows[0] == rows[1]
    samples = [(path / "samples.txt").read_text() for path in (actual, expected)]
    assert samples[0] == samples[1]


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


def history(directory):
    with (directory / "history.csv").open() as file:
        return list(csv.DictReader(file))


def call_main(monkeypatch, *arguments):
    values = flags.FlagValues()
    program.define_flags(values)
    values(["language_model", *arguments])
    monkeypatch.setattr(program.flags, "FLAGS", values)
    return program.main(["language_model"])


def test_loss_falls_and_files_are_written(finished):
    _, directory, results = finished
    losses = [float(row["validation_loss"]) for row in history(directory)]
    # Frequencies of the characters alone give 2.25.
    assert losses[0] > losses[-1] and losses[-1] < 1.5
    assert load(directory) == results
    metrics = results["metrics"]
    bits = metrics["validation_loss"] / np.log(2)
    assert metrics["validation_bits_per_byte"] == pytest.approx(bits)
    assert metrics["train_tokens_per_second"] > 0
    texts = (directory / "samples.txt").read_text().split("--- sample ")[1:]
    assert [text[:7] for text in texts] == ["1\nthe c", "2\nthe c"]
    assert len(texts[0]) == len("1\n") + 16 + len("\n")


def test_validation_loss_is_that_of_the_saved_model(finished):
    settings, directory, results = finished
    model = keras.models.load_model(directory / "model.keras")
    text = ("the cat sat on the mat.\n" * 100).encode()[-240:]
    tokens = np.frombuffer(text, np.uint8).astype("int32")
    inputs, targets = (tokens[at : at + 224].reshape(14, 16) for at in (0, 1))
    logits = keras.ops.convert_to_numpy(model(inputs)).astype("float64")
    scores = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -np.take_along_axis(scores, targets[..., None], -1).mean()
    assert results["metrics"]["validation_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
    "moment, changes",
    [
        ("write_history", {}),
        (
            "save_checkpoint",
            {
                "steps_per_epoch": 5,
                "tokens": "characters",
                "scheme": "fixup",
                "mixed_precision": "mixed_float16",
            },
        ),
    ],
)
def test_interrupted_run_ends_as_an_undisturbed_one(
    dataset, finished, tmp_path, monkeypatch, moment, changes
):
    settings, undisturbed, _ = finished
    if changes:
        settings, undisturbed = small(dataset, **changes), tmp_path / "other"
        training.run(settings, undisturbed)

    def interrupted(self, *arguments):
        # In the second epoch: one is finished.
        if self.finished_epochs() == 1:
            raise KeyboardInterrupt
        original(self, *arguments)

    original = getattr(RunDirectory, moment)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            training.run(settings, tmp_path / "resumed")
    results = training.run(settings, tmp_path / "resumed")
    assert_same_run(tmp_path / "resumed", undisturbed)
    if changes:
        assert results["vocabulary"] == load(undisturbed)["vocabulary"]
        assert results["vocabulary"] == "\n .acehmnost"


def test_finished_run_writes_other_samples_and_trains_no_more(finished, monkeypatch):
    settings, directory, first = finished
    changes = ["--prompt=on the", "--samples=1", "--temperature=0"]
    arguments = [
        f"--{name}={value}"
        for name, value in vars(settings).items()
        if value is not None and name not in SAMPLING
    ]
    arguments += [*changes, f"--output_dir={directory}"]
    assert call_main(monkeypatch, *arguments) == 0
    assert load(directory)["metrics"] == first["metrics"]
    text = (directory / "samples.txt").read_text()
    assert text.startswith("--- sample 1\non the") and text.count("sample") == 1
    training.run(settings, directory)


def test_other_text_in_the_same_directory_is_an_error(finished):
    settings, directory, _ = finished
    (path,) = [settings.dataset.removeprefix("text:")]
    with open(path, encoding="utf-8") as file:
        before = file.read()
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write("more")
        with pytest.raises(ValueError, match="text .* there, .* now"):
            training.run(settings, directory)
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write(before)


def test_learning_rate_that_is_far_too_large_is_an_error(dataset, tmp_path):
    settings = small(dataset, learning_rate=1e30, scheme="unnormalized")
    with pytest.raises(TrainingDiverged, match="--learning_rate"):
        training.run(settings, tmp_path)
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset=text:absent.txt"], "no file or folder at absent.txt"),
        (["--dataset=digits"], "--dataset=text:digits"),
        (["--dataset=DATA", "--scheme=fixpu"], "'fixup'"),
        (["--dataset=DATA", "--length=500"], "Lower --length"),
        (["--dataset=DATA", "--prompt="], "--prompt must not be empty"),
        (["--dataset=DATA", "--length=4", "--prompt=abcd"], "--prompt has 4 tokens"),
        (["--dataset=DATA", "--sample_tokens=128"], "--sample_tokens=128"),
        (["--dataset=DATA", "--num_heads=3"], "num_heads"),
        (["--dataset=DATA", "--activation=gleu"], "activation"),
        (["--dataset=DATA", "--epochs=1"], "--warmup_epochs"),
    ],
)
def test_bad_input_is_one_line_before_training(
    arguments, message, dataset, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    arguments = [a.replace("DATA", dataset) for a in arguments]
    assert call_main(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and message in line
    assert not list(tmp_path.rglob("config.json"))
