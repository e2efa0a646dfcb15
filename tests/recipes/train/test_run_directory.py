import pytest

from recipes.common.experiment.results import Results
from recipes.train.run_directory import RunDirectory


def test_the_same_settings_open_a_directory_again(tmp_path):
    RunDirectory(tmp_path).check_settings({"scheme": "fixup", "model": None})
    RunDirectory(tmp_path).check_settings({"scheme": "fixup", "model": None})
    with pytest.raises(ValueError, match="scheme=fixup there and rezero here"):
        RunDirectory(tmp_path).check_settings({"scheme": "rezero", "model": None})


@pytest.mark.parametrize(
    "name, text", [("settings.json", "[]"), ("results.json", "{}")]
)
def test_something_else_is_refused_and_left_alone(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="--output_dir=.* holds something else"):
        RunDirectory(tmp_path).check_settings({"scheme": "fixup"})
    assert (tmp_path / name).read_text() == text


def test_comparison_is_refused_from_its_first_file_on(tmp_path):
    Results(tmp_path, "compare_stability", {})
    before = sorted(tmp_path.iterdir())
    # Before --restart can remove anything.
    with pytest.raises(ValueError, match="--output_dir=.* holds something else"):
        RunDirectory(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
