from benchmarks.common import report
from benchmarks.common.benchmark import Ratio
from benchmarks.common.measuring import evaluate


def test_table_shows_ratios_limits_and_failures():
    measures = {"a": {"step": [3.0]}, "b": {"step": [2.0]}}
    ratios = [
        evaluate(Ratio("a / b", "a", "b", limit=1.5), measures),
        evaluate(Ratio("b / a", "b", "a", limit=0.5), measures),
        evaluate(Ratio("memory", "a", "b", measure="memory"), measures),
    ]
    results = [
        {"name": "first", "error": None, "ratios": ratios},
        {"name": "second", "error": "no such device", "ratios": []},
    ]
    lines = [line.split() for line in report.table(results).splitlines()[2:]]
    assert lines[0] == "first a / b 1.5 1.5 to 1.5 1.5 pass".split()
    assert lines[1][-2:] == ["0.5", "FAIL"]
    assert lines[2] == "first memory - - - -".split()
    assert lines[3] == "second did not run - - - FAIL".split()


def test_machine_without_cpuinfo(monkeypatch, tmp_path):
    monkeypatch.setattr(report.pathlib, "Path", lambda path: tmp_path / "nowhere")
    assert report.machine()["instructions"] == []
