import csv
import math

import pytest

from recipes.common.experiment import files, results
from recipes.common.experiment.results import Results
from recipes.compare_stability import publish
from recipes.train.run_directory import RunDirectory

ARM = {
    "id": "train-fixup-depth4-lr0.1-seed0",
    "kind": "train",
    "scheme": "fixup",
    "depth": 4,
    "num_blocks": 1,
    "learning_rate": 0.1,
    "seed": 0,
    "parameters": 100,
    "diverged": None,
    "epochs": [
        {
            "epoch": 1,
            "train_loss": 2.0,
            "train_accuracy": 0.3,
            "test_loss": math.inf,
            "test_accuracy": 0.25,
            "gradient_norm": 1.0,
            "seconds": 0.1,
        }
    ],
    "initial": {"mean_square": [1.0, 2.0], "predicted": None, "loss": math.nan},
    "steps_per_second": 10.0,
    "peak_memory_mb": None,
    "seconds": 1.5,
}


def _open(path, config, recipe="compare_stability", num_classes=10):
    return Results(path, recipe, config, num_classes=num_classes)


def test_results_hold_flags_environment_and_arms(tmp_path):
    directory = _open(tmp_path / "a" / "b", {"depths": (4,)})
    assert files.read_json(directory.path / "config.json")["config"] == {"depths": [4]}
    assert directory.arm(ARM["id"]) is None
    directory.add(ARM)
    content = directory.content("title", [ARM["id"]])
    directory.finish(content, [publish.row(arm) for arm in content["arms"]])
    assert content["recipe"] == "compare_stability"
    assert content["seconds"] == 1.5
    assert (content["config"], content["num_classes"]) == ({"depths": [4]}, 10)
    assert {"fixinit", "keras", "backend", "numpy"} <= set(content["environment"])
    loaded = results.load(directory.path)
    assert loaded["arms"][0]["epochs"] == ARM["epochs"]
    with (directory.path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["id"] == ARM["id"]
    assert float(row["growth"]) == 2.0
    assert row["diverged_step"] == row["predicted_growth"] == ""


def test_the_same_flags_open_a_directory_again(tmp_path):
    _open(tmp_path, {"depths": (4, 6), "rate": math.inf}).add(ARM)
    again = _open(tmp_path, {"depths": (4, 6), "rate": math.inf})
    assert again.arm(ARM["id"])["learning_rate"] == 0.1


def test_other_flags_are_refused_by_name(tmp_path):
    _open(tmp_path, {"depths": (4, 6), "seeds": (0,), "epochs": 2})
    with pytest.raises(ValueError, match="depths.*seeds.*--output_dir") as error:
        _open(tmp_path, {"depths": (4, 8), "seeds": (1,), "epochs": 2})
    assert "epochs" not in str(error.value)


def test_another_backend_is_refused(tmp_path):
    path = _open(tmp_path, {}).path / "config.json"
    content = files.read_json(path)
    content["environment"]["backend"] = "other"
    files.write_json(path, content)
    with pytest.raises(ValueError, match="KERAS_BACKEND"):
        _open(tmp_path, {})


def test_directory_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="--output_dir.*Choose another"):
        _open(tmp_path / "file", {})


def test_data_of_another_number_of_classes_are_refused(tmp_path):
    _open(tmp_path, {})
    with pytest.raises(ValueError, match=r"num_classes \(10 there, 3 now\)"):
        _open(tmp_path, {}, num_classes=3)


def test_results_of_another_recipe_are_refused(tmp_path):
    _open(tmp_path, {})
    with pytest.raises(ValueError, match=r"recipe \(compare_stability there, mine now"):
        _open(tmp_path, {}, recipe="mine")


def test_broken_config_is_an_error_that_names_it(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged.*--output_dir"):
        _open(tmp_path, {})


@pytest.mark.parametrize(
    "name, text",
    [
        ("config.json", "{}"),
        ("config.json", "[]"),
        ("config.json", '{"config": [], "environment": {}}'),
        ("results.json", "{}"),
    ],
)
def test_something_else_is_refused_and_left_alone(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="--output_dir=.* holds something else"):
        _open(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text


def test_run_of_the_other_recipe_is_refused(tmp_path):
    RunDirectory(tmp_path, {"scheme": "fixup"})
    with pytest.raises(ValueError, match=r"recipe \(train there, compare_stability"):
        _open(tmp_path, {})


def test_arms_without_config_are_refused(tmp_path):
    _open(tmp_path, {}).add(ARM)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=f"arms/{ARM['id']}.json without config"):
        _open(tmp_path, {})


def test_arm_under_the_name_of_another_is_named(tmp_path):
    directory = _open(tmp_path, {})
    directory.add(ARM)
    (tmp_path / "arms" / f"{ARM['id']}.json").rename(tmp_path / "arms" / "other.json")
    with pytest.raises(ValueError, match="does not hold the arm 'other'. Remove it"):
        directory.arm("other")


def test_results_without_checksum_are_loaded_with_a_warning(tmp_path):
    (tmp_path / "results.json").write_text('{"arms": []}')
    with pytest.warns(UserWarning, match="carries no checksum"):
        assert results.load(tmp_path) == {"arms": []}
