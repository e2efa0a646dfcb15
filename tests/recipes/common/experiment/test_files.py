import json
import math

import pytest

from recipes.common.experiment import files


def test_json_is_strict_and_numbers_that_are_not_finite_come_back(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": [math.inf, -math.inf, math.nan], "b": (1, "text")})
    strict = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert strict == {"a": ["inf", "-inf", "nan"], "b": [1, "text"]}
    loaded = files.read_json(path)
    assert loaded["a"][:2] == [math.inf, -math.inf]
    assert math.isnan(loaded["a"][2])


def test_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert files.read_json(path) == {"a": 1}
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("{")
        raise KeyboardInterrupt
    assert files.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_corrupted_json_is_an_error_that_names_it(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="x.json is corrupted"):
        files.read_json(path)


def test_csv_has_a_row_for_each_dict(tmp_path):
    files.write_csv(tmp_path / "x.csv", [{"a": 1, "b": None}, {"a": 2, "b": "x,y"}])
    assert (tmp_path / "x.csv").read_text() == 'a,b\n1,\n2,"x,y"\n'
