"""No file of a training run is damaged without a word, and none ends in a traceback."""

import collections
import os
import shutil

import keras
import numpy as np
import pytest

import fixinit
from recipes.common.experiment.errors import UnusableFileError
from recipes.train.run_directory import RunDirectory
from tests.recipes.damage import mutations

TURNS = 1050

SETTINGS = {"scheme": "fixup", "learning_rate": 0.1, "epochs": 3}
KINDS = {
    "arms": "arms/epoch-00002.json",
    "checkpoint": "checkpoint-00003.weights.h5",
    "checksum": "checkpoint-00003.weights.h5.sha256",
    "config": "config.json",
    "history": "history.csv",
}


def network(seed=0):
    model = fixinit.models.ResidualMLP(
        num_blocks=2, units=4, input_shape=(3,), classes=2, seed=seed
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train(path, seed):
    """The files of a run of three epochs."""
    directory = RunDirectory(path, {**SETTINGS, "seed": seed})
    model, rows = network(seed), []
    rng = np.random.default_rng(seed)
    for epoch in (1, 2, 3):
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        rows.append({"epoch": epoch, "seconds": 0.5, "train_loss": rng.random()})
        directory.write_history(rows)
        directory.save_checkpoint(model, epoch)
    directory.write_results({"metrics": rows[-1]})
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Directories of two finished runs."""
    path = tmp_path_factory.mktemp("runs")
    return [train(path / name, seed) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def model():
    return network()


def go_on(path, model):
    """What a run goes on from: `(rows, weights and the optimizer's state)`."""
    directory = RunDirectory(path, {**SETTINGS, "seed": 0})
    finished = directory.finished_epochs()
    if finished:
        directory.load_checkpoint(model)
    rows = directory.read_history(finished)
    variables = [*model.variables, *model.optimizer.variables]
    return rows, [keras.ops.convert_to_numpy(v) for v in variables]


def outcome(path, model, right):
    try:
        found, word = mutations.said(go_on, path, model)
    except ValueError as error:
        assert str(path) in str(error), error
        return "named"
    np.testing.assert_equal(found, right)
    return "said" if str(path) in word else "same"


def check(finished, model, tmp_path):
    rng = np.random.default_rng(TURNS)
    pristine, other = finished
    right = go_on(pristine, model)
    found = collections.Counter()
    for turn in range(TURNS):
        place = [*KINDS][turn % len(KINDS)]
        kind = mutations.KINDS[turn // len(KINDS) % len(mutations.KINDS)]
        path = shutil.copytree(pristine, tmp_path / str(turn))
        file = path / KINDS[place]
        others = [other / KINDS[place]]
        if place == "arms":
            others.append(path / "arms/epoch-00001.json")
        content = mutations.damaged(file, others, rng, kind)
        if content != file.read_bytes():
            mutations.write(file, content)
            found[place, outcome(path, model, right)] += 1
        shutil.rmtree(path)
    return found


@pytest.mark.slow
def test_damaged_files_of_a_run_are_named(finished, model, tmp_path):
    found = check(finished, model, tmp_path)
    assert found.total() > 0.9 * TURNS
    # What a run goes on from is named; history.csv is written again, and that is said.
    for place in ("arms", "checkpoint", "checksum"):
        assert found[place, "named"] > 0.15 * TURNS and not found[place, "same"]
    assert found["history", "said"] > 0.15 * TURNS and not found["history", "same"]


def test_checkpoint_of_another_epoch_is_named(finished, model, tmp_path):
    path = shutil.copytree(finished[0], tmp_path / "copy")
    for suffix in ("", ".sha256"):
        old = path / f"checkpoint-00003.weights.h5{suffix}"
        old.rename(path / f"checkpoint-00002.weights.h5{suffix}")
    with pytest.raises(UnusableFileError, match="checkpoint-00003.* is missing"):
        go_on(path, model)


def test_lost_checkpoint_is_named(finished, model, tmp_path):
    path = shutil.copytree(finished[0], tmp_path / "copy")
    (path / "checkpoint-00003.weights.h5").unlink()
    with pytest.raises(UnusableFileError, match="--restart"):
        go_on(path, model)
    (path / "results.json").unlink()
    with pytest.raises(UnusableFileError, match="--restart"):
        go_on(path, model)


def test_row_without_its_checkpoint_is_of_a_killed_run(finished, model, tmp_path):
    path = shutil.copytree(finished[0], tmp_path / "copy")
    (path / "results.json").unlink()
    directory = RunDirectory(path, {**SETTINGS, "seed": 0})
    rows = directory.read_history(3)
    directory.write_history([*rows, {"epoch": 4, "seconds": 1.0, "train_loss": 0.0}])
    (found, _), word = mutations.said(go_on, path, model)
    assert found == rows and not word
    assert len((path / "history.csv").read_text().splitlines()) == 4


def test_kill_between_checksum_and_checkpoint_is_harmless(
    finished, model, tmp_path, monkeypatch
):
    path = shutil.copytree(finished[0], tmp_path / "copy")
    directory = RunDirectory(path, {**SETTINGS, "seed": 0})
    right = go_on(path, model)

    def killed(source, target):
        if str(target).endswith(".h5"):
            raise KeyboardInterrupt
        replace(source, target)

    replace = os.replace
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        # Over the old one, which must stay readable.
        directory.save_checkpoint(network(1), 3)
    np.testing.assert_equal(go_on(path, model), right)


def test_run_of_earlier_versions_goes_on_and_says_so(finished, model, tmp_path):
    """They wrote no checksums."""
    path = shutil.copytree(finished[0], tmp_path / "copy")
    right = go_on(path, model)
    for file in (*path.glob("[!.]*.json"), *path.glob("arms/*.json")):
        lines = file.read_text().splitlines()
        checksum = next(i for i, x in enumerate(lines) if x.startswith(' "checksum"'))
        kept = [x for x in lines[:checksum] if not x.startswith(' "run"')]
        kept[-1] = kept[-1].removesuffix(",")
        file.write_text("\n".join(kept + lines[checksum + 1 :]) + "\n")
    for file in path.glob("*.sha256"):
        file.unlink()
    found, word = mutations.said(go_on, path, model)
    np.testing.assert_equal(found, right)
    assert "carried no checksums" in word
