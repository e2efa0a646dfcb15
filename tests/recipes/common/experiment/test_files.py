import json
import math

import pytest

from recipes.common.experiment import files
from recipes.common.experiment.errors import UnusableFileError


def test_json_is_strict_and_numbers_that_are_not_finite_come_back(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": [math.inf, -math.inf, math.nan], "b": (1, "text")})
    strict = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert len(strict.pop("checksum")) == 64
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


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 10**5, b'{"a": 1}'])
def test_damaged_json_is_an_error_that_names_it(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UnusableFileError, match="x.json is damaged.* Remove it"):
        files.read_json(path, "Remove it.")


@pytest.mark.parametrize("content", [{}, {"a": 1}, {"checksums": {"checksum": 1}}])
def test_changed_digits_do_not_fit_the_checksum(content, tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {**content, "value": 1.25})
    assert files.read_json(path) == {**content, "value": 1.25}
    path.write_text(path.read_text().replace("1.25", "1.35"))
    with pytest.raises(UnusableFileError, match="belongs to another content"):
        files.read_json(path)


def test_checksums_are_those_of_sha256sum(tmp_path):
    path = tmp_path / "x.bin"
    with files.replacing(path, checksum=True) as temporary:
        temporary.write_bytes(b"abc")
    # Of FIPS 180-2, appendix B.1.
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (tmp_path / "x.bin.sha256").read_text() == f"{known}  x.bin\n"


def test_what_killed_processes_left_is_removed(tmp_path):
    left = [tmp_path / f"unfinished-{16 * c}-x.json" for c in "0a"]
    mine = [tmp_path / "unfinished-x.json", tmp_path / "x.json"]
    for path in (*left, *mine):
        path.touch()
    files.remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == mine


def test_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UnusableFileError, match="x.json cannot be written"):
        files.write_json(tmp_path / "none" / "x.json", {})


def test_csv_has_a_row_for_each_dict(tmp_path):
    files.write_csv(tmp_path / "x.csv", [{"a": 1, "b": None}, {"a": 2, "b": "x,y"}])
    assert (tmp_path / "x.csv").read_text() == 'a,b\n1,\n2,"x,y"\n'
