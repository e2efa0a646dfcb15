"""The command, on a case that takes a second."""

import pytest
from absl import app, flags

from benchmarks.doctor import __main__ as command
from benchmarks.doctor import asking, loading, parts
from recipes.common.experiment import files


@pytest.fixture
def cases(faulty, repaired):
    case = loading.Faulty("softmax1", ("last_activation",), faulty, repaired, steps=40)
    return loading.Cases((case,), (loading.Healthy("logistic", repaired, train=20),))


def measured(cases, doctor, *chosen):
    records = command.run(cases, [0], list(chosen), doctor)
    assert [record["error"] for record in records] == [None] * len(records)
    return {(record["part"], record["name"]): record for record in records}


@pytest.mark.slow
def test_detects_names_and_mends(cases, doctor):
    records = measured(cases, doctor, "detection", "remedies", "healthy")
    found = records["detection", "softmax1"]
    assert (found["kinds"], found["named"]) == (["last_activation"],) * 2
    assert [f["kind"] for f in found["findings"]] == ["last_activation", "batch"]
    mended = records["remedies", "softmax1"]
    assert mended["better"] is True
    # A softmax over one unit says yes to all.
    assert mended["before"][0] == pytest.approx(0.5, abs=0.1)
    assert mended["after"][0] > 0.9
    for name in ("softmax1", "logistic"):
        assert records["healthy", name]["kinds"] == []


@pytest.mark.slow
def test_watches_trainings_at_three_rates(cases, doctor):
    records = measured(cases.only(["logistic"]), doctor, "monitor")
    record = records["monitor", "logistic"]
    assert record["training"]["alarm"] is record["training"]["lost"] is None
    assert record["training"]["last_loss"] < record["training"]["first_loss"]
    assert set(record["diverging"]) == {"30", "1000"}


def test_one_case_that_fails_does_not_end_the_others(cases, doctor):
    def breaks(model, x, y):
        if model.layers[-1].activation.__name__ == "softmax":
            raise ZeroDivisionError("of a rule")
        return doctor(model, x, y)

    records = command.run(cases, [0], ["detection", "healthy"], breaks)
    assert [r["error"] for r in records] == ["ZeroDivisionError: of a rule", None, None]


@pytest.mark.slow
def test_a_program_that_cannot_be_trained_is_worse_than_one_that_can(cases, doctor):
    (case,) = cases.faulty
    calls = []

    def build():
        calls.append(0)
        model, x, y = case.faulty()
        return model, x, y[:1] if len(calls) > 1 else y

    record = parts.remedies(loading.Faulty("a", ("b",), build, build), 0, doctor)
    assert record["before"][0] == -float("inf")
    assert record["better"]


FILE = """
from keras import layers
import keras
import numpy as np

def build():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, name="head")])
    model.compile("sgd", "mse")
    return model, np.ones((4, 2), "float32"), np.ones((4, 1), "float32")

HEALTHY = [{"name": f"linear{i}", "make": build, "train": 0} for i in range(2)]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on a file of cases: its results."""
    (tmp_path / "more.py").write_text(FILE)
    monkeypatch.setattr(asking, "diagnosed", lambda model, x, y: [])
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    command.define_flags(values)

    def run(*arguments):
        given = ["--novisible", f"--cases={tmp_path}/more.py", *arguments]
        values(["doctor", *given, f"--json={tmp_path}/out.json"])
        command.main(["doctor"])
        return files.read_json(tmp_path / "out.json")["records"]

    return run


def test_measures_the_cases_of_a_file(run, capsys):
    records = run("--seeds=0,5")
    assert [(r["name"], r["seed"]) for r in records] == [
        (name, seed) for seed in (0, 5) for name in ("linear0", "linear1")
    ]
    printed = capsys.readouterr().out
    assert "false alarms, healthy  0 of 2  0.00  0 of 2  0.00" in printed
    assert " seconds\n" in printed


def test_selects_names_seeds_and_parts(run):
    (record,) = run("--only=linear1", "--seed=3")
    assert (record["name"], record["seed"]) == ("linear1", 3)
    assert run("--parts=detection,monitor") == []


@pytest.mark.parametrize("flag", ["--parts=healthy,lungs", "--seeds=0,x"])
def test_refuses_bad_flags(run, flag):
    with pytest.raises(flags.IllegalFlagValueError):
        run(flag)


def test_refuses_unknown_names(run):
    with pytest.raises(app.UsageError, match=r"linear0.*Received: \['linear7'\]"):
        run("--only=linear7")
