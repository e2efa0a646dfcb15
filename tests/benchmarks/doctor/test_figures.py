"""Figures over records, and what is printed of them."""

import pytest

from benchmarks.doctor import figures, report

FACTS = {"seed": 0, "error": None, "seconds": 1.0}


def detection(name, kinds, named=(), visible=True, **more):
    facts = FACTS | {"part": "detection", "name": name, "faults": ["loss", "units"]}
    found = {"kinds": kinds, "named": list(named), "findings": []}
    return facts | found | {"visible": visible} | more


def healthy(name, kinds, group="ordinary", **more):
    finding = {"severity": "error", "cause": f"{name} looks bad"}
    findings = [finding | {"kind": kind} for kind in kinds]
    found = {"kinds": kinds, "findings": findings, "group": group}
    return FACTS | {"part": "healthy", "name": name} | found | more


def remedy(name, applied, left, better=None, raised=None):
    found = {"applied": applied, "left": left, "better": better, "raised": raised}
    # All are against one kind, which is left where a remedy does not help.
    found["against"] = ["exploding"] * len(applied)
    found |= {"claimed": ["loss_mismatch"], "before": [0.5, 0.4], "after": [0.75, 0.6]}
    return FACTS | {"part": "remedies", "name": name} | found


def run(alarm_step=None, lost=None, learns=True):
    alarm = None if alarm_step is None else "it grows"
    return {"alarm": alarm, "alarm_step": alarm_step, "lost": lost, "learns": learns}


def monitor(name, training, *diverging):
    runs = {f"x{i}": run for i, run in enumerate(diverging)}
    found = {"training": training, "diverging": runs, "group": "ordinary"}
    return FACTS | {"part": "monitor", "name": name} | found


RECORDS = [
    detection("main", ["loss_mismatch"], ["loss"]),
    detection("second", ["label_range"], ["units"]),
    detection("wrong", ["vanishing"]),
    detection("missed", []),
    detection("broken", [], error="ValueError: no"),
    detection("unseen", ["vanishing"], visible=False),
    healthy("calm", []),
    healthy("accused", ["exploding"]),
    healthy("mended", ["exploding"], group="repaired"),
    {**FACTS, "part": "healthy", "name": "fails", "group": "repaired", "error": "no"},
    remedy("single", ["a"], [[]], better=True),
    remedy("chain", ["a", "b"], [["vanishing"], []], better=True),
    remedy("useless", ["a"], [[]], better=False),
    remedy("ill", ["a"], [["exploding"]]),
    remedy("raises", ["a"], [], raised="NameError: x"),
    remedy("none", [], []),
    monitor("good", run(), run(3, 5, False), run(5, 5, False)),
    monitor("stopped", run(7), run(None, 2, False), run(4, None)),
    monitor("slow", run(), run(4, None, False), run()),
]


def test_figures_count_what_they_say():
    counted = {f.name: (f.count, f.of) for f in figures.figures(RECORDS)}
    assert counted == {
        "faults detected": (3, 5),
        "cause named": (2, 5),
        "main cause named": (1, 5),
        "claims where one batch cannot show the fault": (1, 1),
        "false alarms, healthy": (1, 2),
        "false alarms, repaired": (2, 2),
        "precision of detection": (3, 6),
        "precision of the cause": (2, 6),
        "remedies after which their claim is gone": (4, 6),
        "single remedies that work": (1, 5),
        "chains of remedies that work": (2, 5),
        "healthy after remedies": (3, 5),
        "Monitor: false alarms": (1, 3),
        "Monitor: losses announced": (1, 3),
        "Monitor: groundless alarms at high rates": (1, 6),
    }


def test_parts_that_were_not_measured_have_no_figures():
    names = [f.name for f in figures.figures(RECORDS[:5])]
    assert names == ["faults detected", "cause named", "main cause named"]


def test_the_report_has_a_column_for_each_seed():
    text = report.summary([*RECORDS, RECORDS[0] | {"seed": 3}])
    header, _, detected, *_ = text.splitlines()
    assert header.split() == ["seed", "0", "seed", "3"]
    assert detected.split() == "faults detected 3 of 5 0.60 1 of 1 1.00".split()


def test_the_report_lists_the_cases():
    text = report.text(RECORDS)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "0 second cause named loss, units label_range",
        "0 unseen (detected) loss, units vanishing",
        "0 accused ordinary exploding accused looks bad",
        "0 chain loss_mismatch after 2 works: 0.5 to 0.75 a",
        "0 useless loss_mismatch after 1 learns no better: 0.5 to 0.75 a",
        "0 ill loss_mismatch after 1 claims exploding a",
        "0 raises loss_mismatch after 1 raises NameError: x a",
        "0 stopped x1 it grows",
        "0 good xx1 lost at 5, alarm at 5: it grows",
        "0 stopped xx0 lost at 2, alarm at -: no alarm",
        "0 detection broken ValueError: no",
    ):
        assert line in lines
    assert "calm" not in text


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_every_record_has_a_line(record):
    assert record["name"] in report.line(record)
