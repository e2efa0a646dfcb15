import pathlib

import pytest

from recipes.language_model import text


@pytest.fixture
def folder(tmp_path):
    contents = {"b.txt": "two ", "a/z.md": "one ", "c.py": "three", "d.bin": "no"}
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return f"text:{tmp_path}"


def test_folder_is_read_in_sorted_order(folder):
    assert text.read(folder, 100) == (b"one two three", False)


@pytest.mark.parametrize(
    "most, expected",
    [(13, (b"one two three", False)), (12, (b"one two thre", True)), (1, (b"o", True))],
)
def test_what_is_beyond_max_bytes_is_left_out(folder, most, expected):
    assert text.read(folder, most) == expected


def test_single_file_may_end_in_anything(folder):
    assert text.read(f"{folder}/d.bin", 100) == (b"no", False)


def test_standard_library_comes_without_its_tests():
    found, is_cut = text.read("text:stdlib", 10**8)
    assert b"class OrderedDict(dict)" in found and not is_cut
    assert b"class TestOrderedDict" not in found


@pytest.mark.parametrize("dataset", ["stdlib", "text:", "npz:a.npz", "digits"])
def test_other_names_are_refused_with_one_that_works(dataset):
    with pytest.raises(ValueError, match="Did you mean --dataset=text:"):
        text.check_name(dataset)


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="--dataset=text:absent"):
        text.read("text:absent", 10)
    with pytest.raises(ValueError, match="holds no file that ends in .md, .py"):
        text.read(f"text:{tmp_path}", 10)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="--dataset=.* is empty"):
        text.read(f"text:{tmp_path}", 10)


def test_names_of_directories():
    paths = ("text:stdlib", f"text:{pathlib.Path('a/b.txt')}", "text:.")
    assert [text.name(path) for path in paths] == ["stdlib", "b", "text"]
