import pytest

from recipes.common.experiment.names import check_file_name
from recipes.common.experiment.results import Results

LEAVE = [
    "../x",
    "a/b",
    "/x",
    "..",
    ".",
    "",
    ".x",
    "a\\b",
    "C:x",
    "x\0",
    "x\n",
    "x" * 201,
]


@pytest.mark.parametrize("name", LEAVE)
def test_names_that_could_leave_their_directory_are_refused(name):
    with pytest.raises(ValueError, match="cannot name a file"):
        check_file_name(name)


@pytest.mark.parametrize("name", ["fixup", "train-fixup-lr0.1", "x" * 200, "größe 1"])
def test_other_names_stay_as_they_are(name):
    assert check_file_name(name) == name


@pytest.mark.parametrize("arm_id", ["../../outside", "a/../../outside"])
def test_arms_stay_in_their_directory(arm_id, tmp_path):
    (tmp_path / "outside.json").write_text('{"secret": 1}')
    directory = Results(tmp_path / "results", "recipe", {})
    with pytest.raises(ValueError, match="cannot name a file"):
        directory.arm(arm_id)
    with pytest.raises(ValueError, match="cannot name a file"):
        directory.add({"id": arm_id, "seconds": 1.0})
    assert (tmp_path / "outside.json").read_text() == '{"secret": 1}'
