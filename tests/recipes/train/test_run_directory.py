import pytest

from recipes.common.experiment.results import Results
from recipes.train.run_directory import RunDirectory

ROW = {"epoch": 1, "seconds": 0.5, "train_loss": 2.0}


def test_the_same_settings_open_a_directory_again(tmp_path):
    RunDirectory(tmp_path, {"scheme": "fixup", "model": None}).write_history([ROW])
    again = RunDirectory(tmp_path, {"scheme": "fixup", "model": None})
    assert again.read_history(1) == [ROW]
    with pytest.raises(ValueError, match=r"scheme \(fixup there, rezero now.*restart"):
        RunDirectory(tmp_path, {"scheme": "rezero", "model": None})


def test_restart_removes_the_run_and_nothing_else(tmp_path):
    directory = RunDirectory(tmp_path, {"scheme": "fixup"})
    directory.write_history([ROW])
    (tmp_path / "checkpoint-00001.weights.h5").touch()
    (tmp_path / "mine.txt").touch()
    again = RunDirectory(tmp_path, {"scheme": "rezero"}, restart=True)
    assert again.finished_epochs() == 0
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {"config.json", "arms", "mine.txt", ".lock", ".lock.json"}


def test_row_that_is_missing_is_named(tmp_path):
    directory = RunDirectory(tmp_path, {})
    with pytest.raises(ValueError, match="epoch-00001.json is missing. Start over"):
        directory.read_history(1)


@pytest.mark.parametrize("name, text", [("config.json", "[]"), ("results.json", "{}")])
def test_something_else_is_refused_and_left_alone(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="--output_dir=.* holds something else"):
        RunDirectory(tmp_path, {"scheme": "fixup"})
    assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("restart", [False, True])
def test_comparison_is_refused_and_left_alone(restart, tmp_path):
    Results(tmp_path, "compare_stability", {})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="compare_stability there, train now"):
        RunDirectory(tmp_path, {}, restart)
    assert sorted(tmp_path.iterdir()) == before
