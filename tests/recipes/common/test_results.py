import csv
import json
import math

import pytest

from recipes.common import results
from recipes.common.results import Results

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


def test_json_is_strict_and_numbers_that_are_not_finite_come_back(tmp_path):
    path = tmp_path / "x.json"
    results.write_json(path, {"a": [math.inf, -math.inf, math.nan], "b": (1, "text")})
    strict = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert strict == {"a": ["inf", "-inf", "nan"], "b": [1, "text"]}
    loaded = results.read_json(path)
    assert loaded["a"][:2] == [math.inf, -math.inf]
    assert math.isnan(loaded["a"][2])


def test_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    results.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        results.write_json(path, {"a": object()})
    assert results.read_json(path) == {"a": 1}
    with pytest.raises(AttributeError):
        results._write(path, lambda file: file.write("{") and file.no_such_method())
    assert results.read_json(path) == {"a": 1}


def test_results_hold_flags_environment_and_arms(tmp_path):
    directory = Results(tmp_path / "a" / "b", {"depths": (4,)})
    assert results.read_json(directory.path / "config.json")["config"] == {
        "depths": [4]
    }
    assert directory.arm(ARM["id"]) is None
    directory.add(ARM)
    content = directory.finish("compare_stability", "title", [ARM["id"]])
    assert content["recipe"] == "compare_stability"
    assert content["seconds"] == 1.5
    assert {"fixinit", "keras", "backend", "numpy"} <= set(content["environment"])
    loaded = results.load(directory.path)
    assert loaded["arms"][0]["epochs"] == ARM["epochs"]
    with (directory.path / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["id"] == ARM["id"]
    assert float(row["growth"]) == 2.0
    assert row["diverged_step"] == row["predicted_growth"] == ""


def test_the_same_flags_open_a_directory_again(tmp_path):
    Results(tmp_path, {"depths": (4, 6), "rate": math.inf}).add(ARM)
    again = Results(tmp_path, {"depths": (4, 6), "rate": math.inf})
    assert again.arm(ARM["id"])["learning_rate"] == 0.1


def test_other_flags_are_refused_by_name(tmp_path):
    Results(tmp_path, {"depths": (4, 6), "seeds": (0,), "epochs": 2})
    with pytest.raises(ValueError, match="depths.*seeds.*--output_dir") as error:
        Results(tmp_path, {"depths": (4, 8), "seeds": (1,), "epochs": 2})
    assert "epochs" not in str(error.value)


def test_another_backend_is_refused(tmp_path):
    path = Results(tmp_path, {}).path / "config.json"
    content = results.read_json(path)
    content["environment"]["backend"] = "other"
    results.write_json(path, content)
    with pytest.raises(ValueError, match="KERAS_BACKEND"):
        Results(tmp_path, {})


def test_directory_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="--output_dir.*Choose another"):
        Results(tmp_path / "file", {})


def test_broken_config_is_an_error_that_names_it(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="config.json"):
        Results(tmp_path, {})
