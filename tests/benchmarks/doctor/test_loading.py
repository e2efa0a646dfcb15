"""Cases from Python files."""

import pytest

from benchmarks.doctor import loading

FILE = """
def build():
    return "model", "x", "y"

FAULTY = {"faults": ["loss"], "faulty": build, "repaired": build, "why": "more keys"}
CASES = [
    FAULTY | {"name": "seen", "visible": "yes", "batch": 4},
    FAULTY | {"name": "unseen", "visible": "no", "steps": 7},
    FAULTY | {"name": "by default"},
]
HEALTHY = [{"name": "fine", "make": build, "train": 0}]
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="cases.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_reads_what_a_file_defines(write):
    cases = loading.load(write(FILE))
    assert [case.visible for case in cases.faulty] == [True, False, True]
    assert [case.batch for case in cases.faulty] == [4, 32, 32]
    assert [case.steps for case in cases.faulty] == [300, 7, 300]
    assert cases.faulty[0].faults == ("loss",)
    assert cases.faulty[0].faulty() == ("model", "x", "y")
    (healthy,) = cases.healthy
    assert (healthy.name, healthy.train, healthy.group) == ("fine", 0, "ordinary")


def test_a_file_may_hold_healthy_cases_alone(write):
    cases = loading.load(write("HEALTHY = [{'name': 'a', 'make': dict}]"))
    assert (len(cases.faulty), len(cases.healthy)) == (0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must define CASES or HEALTHY"),
        ("HEALTHY = [{'name': 'a'}]", r"healthy case needs \['make'\].*\['name'\]"),
        (f"{FILE}\nCASES[0]['visible'] = 'maybe'", "`visible` of case 'seen'.*'maybe'"),
    ],
)
def test_refuses_a_file_without_cases(write, text, message):
    with pytest.raises(loading.CasesError, match=message):
        loading.load(write(text))


@pytest.mark.parametrize("name", ["cases.txt", "nowhere.py"])
def test_refuses_what_is_no_python_file(write, tmp_path, name):
    write(FILE, "cases.txt")
    with pytest.raises(loading.CasesError, match=f"Python file. Received: .*{name}"):
        loading.load(tmp_path / name)


def test_of_two_cases_of_one_name_the_last_counts(write):
    first = loading.load(write(FILE))
    other = loading.load(write(FILE.replace("'train': 0", "'train': 9"), "other.py"))
    merged = loading.merged([first, other])
    assert len(merged.faulty) == 3
    assert merged.healthy == other.healthy


def test_selects_by_name(write):
    cases = loading.load(write(FILE))
    assert cases.only([]) == cases
    some = cases.only(["unseen", "fine"])
    assert [case.name for case in (*some.faulty, *some.healthy)] == ["unseen", "fine"]
    with pytest.raises(loading.CasesError, match=r"Received: \['ghost'\]"):
        cases.only(["unseen", "ghost"])
