"""The command, its processes and its files, on benchmarks that take no time."""

import importlib
import sys

import pytest
from absl import app, flags

from benchmarks import __main__ as command
from recipes.common.experiment import files

# Arms without Keras: a process starts in a tenth of a second.
TRIVIAL = """
import os

from benchmarks.common.benchmark import Arm, Benchmark, Ratio

def arm(name):
    def build(quick):
        print("libraries print what they like")

        def step():
            with open(os.environ["TURNS"], "a") as file:
                file.write(name)

        return step, {"size": 3.0 if name == "A" else 2.0, "quick": quick}

    return Arm(build, {"NAME": name})


def checks_environment(quick):
    assert os.environ["NAME"] == "C"
    return lambda: None


def broken(quick):
    raise RuntimeError("no such device")


def dies(quick):
    steps = iter("12")

    def step():
        if next(steps, None) is None:
            os._exit(3)

    return step


BENCHMARKS = [
    Benchmark(
        "turns",
        {"A": arm("A"), "B": arm("B")},
        [
            Ratio("size", "A", "B", limit=1.6, measure="size"),
            Ratio("too large", "A", "B", limit=1.4, measure="size"),
            Ratio("alone", "A", measure="size"),
            Ratio("unknown", "A", "B", limit=1.0, measure="speed"),
        ],
        repeats=3,
        steps=2,
        warmup=1,
    ),
    Benchmark("starts", {"A": arm("A")}, [], repeats=6, starts=3, warmup=0),
    Benchmark("environment", {"C": Arm(checks_environment, {"NAME": "C"})}, []),
    Benchmark("broken", {"D": Arm(broken)}, []),
    Benchmark("dies", {"E": Arm(dies)}, [], warmup=0),
]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on the trivial benchmarks: its status and its results."""
    (tmp_path / "trivial_benchmarks.py").write_text(TRIVIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TURNS", str(tmp_path / "turns"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("trivial_benchmarks")
    monkeypatch.delitem(sys.modules, module.__name__)
    found = {b.name: (b, module.__name__) for b in module.BENCHMARKS}
    monkeypatch.setattr(command, "find", lambda: found)

    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    command.define_flags(values)

    def run(*arguments):
        output = tmp_path / "out" / "all.json"
        values(["benchmarks", f"--output={output}", *arguments])
        status = command.main(["benchmarks"])
        return status, files.read_json(output)

    return run


def test_arms_take_turns(run, tmp_path):
    run("--only=turns")
    # First step and warm-up of each, then two steps a turn.
    assert (tmp_path / "turns").read_text() == "AABB" + 3 * "AABB"


def test_ratios_meet_their_limits_or_not(run, capsys):
    status, results = run("--only=turns")
    ratios = {ratio["name"]: ratio for ratio in results["benchmarks"][0]["ratios"]}
    assert status == 1
    assert ratios["size"]["median"] == 1.5
    assert ratios["size"]["passed"] is True
    assert ratios["too large"]["passed"] is False
    assert ratios["alone"]["median"] == 3.0
    assert ratios["alone"]["passed"] is None
    assert ratios["unknown"]["passed"] is False
    assert "too large" in capsys.readouterr().out


def test_steps_count_singly(run):
    _, results = run("--only=turns", "--repeats=4")
    measures = results["benchmarks"][0]["measures"]["A"]
    assert len(measures["step"]) == 4
    assert len(measures["build"]) == len(measures["first_step"]) == 1


def test_every_start_is_a_new_process(run, tmp_path):
    _, results = run("--only=starts")
    measures = results["benchmarks"][0]["measures"]["A"]
    assert (tmp_path / "turns").read_text() == 3 * "AAA"
    assert [len(measures[name]) for name in ("step", "first_step")] == [6, 3]


def test_quick_judges_nothing(run, tmp_path):
    status, results = run("--only=turns", "--quick")
    assert status == 0
    assert {r["passed"] for r in results["benchmarks"][0]["ratios"]} == {None}
    assert results["benchmarks"][0]["measures"]["A"]["quick"] == [True]
    assert (tmp_path / "turns").read_text() == "AB" + 2 * "AB"


def test_arms_have_their_own_environment(run):
    status, results = run("--only=environment")
    assert status == 0
    assert results["benchmarks"][0]["error"] is None


def test_a_failure_costs_only_its_own_benchmark(run, capsys):
    status, results = run()
    assert status == 1
    broken, dies = results["benchmarks"][-2:]
    assert broken["error"].startswith("broken/D ended with exit status 1")
    assert "RuntimeError: no such device" in broken["error"]
    assert dies["error"].startswith("dies/E ended with exit status 3")
    assert results["benchmarks"][0]["ratios"]
    assert "no such device" in capsys.readouterr().err


def test_results_tell_the_machine_and_the_versions(run):
    _, results = run("--only=environment")
    assert results["machine"]["cpu_count"] >= 1
    assert results["benchmarks"][0]["environment"] == {"C": {}}


def test_refuses_an_unknown_benchmark(run):
    with pytest.raises(app.UsageError, match="turns.*Received: 'truns'"):
        run("--only=truns")


def test_finds_the_benchmarks_of_the_package():
    benchmark, module = command.find()["resnet110"]
    assert module == "benchmarks.resnet"
    assert list(benchmark.arms) == ["fixup", "batch_norm", "floor", "unstacked"]


# Each arm is a process of its own, with a deep network.
@pytest.mark.evidence
@pytest.mark.parametrize("name", sorted(command.find()))
def test_every_benchmark_of_the_package_runs(name):
    benchmark, module = command.find()[name]
    for arm in benchmark.arms.values():
        pytest.importorskip(arm.environment["KERAS_BACKEND"])
    (result,) = command.run({name: (benchmark, module)}, quick=True)
    assert result["error"] is None
    assert all(ratio["values"] for ratio in result["ratios"])
