"""What `python -m benchmarks.doctor` prints: figures by seed, and lists of cases."""

from collections.abc import Iterable
from typing import Any

from benchmarks.doctor import figures
from benchmarks.doctor.figures import Record
from recipes.common.experiment.tables import as_text


def text(records: list[Record]) -> str:
    """Everything that is printed about a run."""
    return "\n\n".join(
        f"{title}\n\n{body}"
        for title, body in (
            ("Figures", summary(records)),
            ("Faulty programs", _detection(_part(records, "detection"))),
            ("False alarms", _false_alarms(_part(records, "healthy"))),
            ("Remedies", _remedies(_part(records, "remedies"))),
            ("Monitor", _monitor(_part(records, "monitor"))),
            ("Failed", _failures(records)),
            ("Seconds", _seconds(records)),
        )
        if body
    )


def summary(records: list[Record]) -> str:
    """The figures, a column for each seed."""
    seeds = sorted({record["seed"] for record in records})
    rows: dict[str, list[str]] = {}
    for column, seed in enumerate(seeds):
        for figure in figures.figures(r for r in records if r["seed"] == seed):
            row = rows.setdefault(figure.name, ["-"] * len(seeds))
            row[column] = f"{figure}  {figure.share:.2f}"
    columns = ("", *(f"seed {seed}" for seed in seeds))
    return as_text(columns, [(name, *cells) for name, cells in rows.items()])


def line(record: Record) -> str:
    """One line about a record, while the benchmark runs."""
    return f"{record['part']:9} {record['name']:36} {_outcome(record)}"


def _outcome(record: Record) -> str:
    if record["error"]:
        return f"FAILED: {record['error']}"
    if record["part"] == "remedies":
        return _mending(record) if record["applied"] else "no remedy"
    if record["part"] == "monitor":
        runs = record["diverging"].values()
        said = [_divergence(run) for run in runs]
        return ", ".join([record["training"]["alarm"] or "silent", *said])
    return ", ".join(record["kinds"]) or "nothing"


def _detection(records: list[Record]) -> str:
    rows = []
    for record in records:
        verdict = "missed"
        if figures.detected(record):
            verdict = "detected"
        if figures.cause_named(record):
            verdict = "cause named"
        if figures.main_cause_named(record):
            verdict = "main cause named"
        if not record["visible"]:
            verdict = f"({verdict})"
        faults = ", ".join(record["faults"])
        claims = ", ".join(record.get("kinds", [])) or "-"
        rows.append((record["seed"], record["name"], verdict, faults, claims))
    return _table(("seed", "case", "", "faults", "claims"), rows)


def _false_alarms(records: list[Record]) -> str:
    rows = [
        (record["seed"], record["name"], record["group"], claim["kind"], claim["cause"])
        for record in records
        if not record["error"]
        for claim in record["findings"]
        if claim["kind"] in record["kinds"]
    ]
    return _table(("seed", "case", "group", "claim", "cause"), rows)


def _remedies(records: list[Record]) -> str:
    rows = []
    for record in records:
        if record["error"] or not record["claimed"]:
            continue
        first = record["applied"][0] if record["applied"] else "none given"
        remedy = "; ".join(first.splitlines())
        claimed = record["claimed"][0]
        row = (record["seed"], record["name"], claimed, _mending(record), remedy)
        rows.append(row)
    return _table(("seed", "case", "first claim", "outcome", "first remedy"), rows)


def _mending(record: Record) -> str:
    count = len(record["applied"])
    steps = f"after {count}"
    if not count:
        return "no remedy"
    if record["raised"]:
        return f"{steps} raises {record['raised']}"
    if record["left"][-1]:
        return f"{steps} claims {', '.join(record['left'][-1])}"
    change = f"{record['before'][0]:.3g} to {record['after'][0]:.3g}"
    return f"{steps} {'works' if record['better'] else 'learns no better'}: {change}"


def _monitor(records: list[Record]) -> str:
    rows: list[tuple[Any, ...]] = []
    for record in records:
        if record["error"]:
            continue
        said = record["training"]["alarm"]
        rows += [(record["seed"], record["name"], "x1", said)] if said else []
    for record in records:
        for run in figures.diverging([record]):
            missed = figures.lost(run) and not figures.announced(run)
            if missed or figures.groundless(run):
                said = f"{_divergence(run)}: {run['alarm'] or 'no alarm'}"
                rows.append((record["seed"], run["name"], f"x{run['factor']}", said))
    return _table(("seed", "case", "rate", "wrong"), rows)


def _divergence(run: Record) -> str:
    if figures.lost(run):
        alarm = run["alarm_step"]
        return f"lost at {run['lost']}, alarm at {'-' if alarm is None else alarm}"
    if run["alarm"] is None:
        return "finite, silent"
    how = "learns" if run["learns"] else "does not learn"
    return f"{how}, alarm at {run['alarm_step']}"


def _failures(records: list[Record]) -> str:
    rows = [
        (record["seed"], record["part"], record["name"], record["error"])
        for record in records
        if record["error"]
    ]
    return _table(("seed", "part", "case", "raised"), rows)


def _seconds(records: list[Record]) -> str:
    spent: dict[str, list[float]] = {}
    for record in records:
        spent.setdefault(record["part"], []).append(record["seconds"])
    rows = [(part, f"{sum(s):.0f}", f"{max(s):.1f}") for part, s in spent.items()]
    total = sum(map(sum, spent.values()))
    return as_text(("", "sum", "longest"), [*rows, ("all", f"{total:.0f}", "")])


def _part(records: Iterable[Record], part: str) -> list[Record]:
    return [record for record in records if record["part"] == part]


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    cells = [[_short(str(cell)) for cell in row] for row in rows]
    return as_text(columns, cells, labels=len(columns))


def _short(cell: str, length: int = 120) -> str:
    """A cell that fits on a screen; `--json` keeps all of it."""
    return cell if len(cell) <= length else f"{cell[: length - 3]}..."
