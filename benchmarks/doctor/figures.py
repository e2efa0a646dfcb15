"""Counts over the records of one seed.

A case whose measurement raised an exception counts against the doctor: as not detected,
as a false alarm, as a remedy that does not work.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Figure:
    """So many of so many."""

    name: str
    count: int
    of: int

    def __str__(self) -> str:
        return f"{self.count} of {self.of}"

    @property
    def share(self) -> float | None:
        return self.count / self.of if self.of else None


def figures(records: Iterable[Record]) -> list[Figure]:
    """All figures of the records of one seed, of the parts that there are."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(record["part"], []).append(record)
    found = [*_detection(parts.get("detection", []))]
    found += _false_alarms(parts.get("healthy", []))
    found += _precision(parts.get("detection", []), parts.get("healthy", []))
    found += _remedies(parts.get("remedies", []))
    found += _monitor(parts.get("monitor", []))
    return [figure for figure in found if figure.of]


def detected(record: Record) -> bool:
    return bool(record.get("kinds"))


def cause_named(record: Record) -> bool:
    return bool(record.get("named"))


def main_cause_named(record: Record) -> bool:
    return record["faults"][0] in record.get("named", [])


def false_alarm(record: Record) -> bool:
    """Whether a healthy program is called faulty, or cannot be measured."""
    return bool(record["error"] or record["kinds"])


def tried(record: Record) -> bool:
    return bool(record["error"] or record["applied"])


def heals(record: Record) -> bool:
    """Whether the last diagnosis after remedies claims nothing."""
    return not record["error"] and not record["raised"] and not record["left"][-1]


def works(record: Record) -> bool:
    return heals(record) and bool(record["better"])


def single_works(record: Record) -> bool:
    return works(record) and len(record["applied"]) == 1


def training_alarm(record: Record) -> bool:
    """Whether `Monitor` stops a training that goes well."""
    return bool(record["error"] or record["training"]["alarm"])


def lost(run: Record) -> bool:
    """Whether the loss ends up without a finite value."""
    return run["lost"] is not None


def announced(run: Record) -> bool:
    """Whether the alarm came before the first loss that is not finite."""
    return run["alarm_step"] is not None and run["alarm_step"] < run["lost"]


def groundless(run: Record) -> bool:
    """Whether there was an alarm though the network learns at this rate as well."""
    return run["alarm"] is not None and not lost(run) and run["learns"]


def diverging(records: Iterable[Record]) -> list[Record]:
    """The trainings at too high rates, each with its name and its factor."""
    return [
        run | {"name": record["name"], "factor": factor}
        for record in records
        if not record["error"]
        for factor, run in record["diverging"].items()
    ]


def _figure(
    name: str, records: list[Record], holds: Callable[[Record], bool]
) -> Figure:
    return Figure(name, sum(map(holds, records)), len(records))


def _detection(records: list[Record]) -> list[Figure]:
    seen = [record for record in records if record["visible"]]
    others = [record for record in records if not record["visible"]]
    return [
        _figure("faults detected", seen, detected),
        _figure("cause named", seen, cause_named),
        _figure("main cause named", seen, main_cause_named),
        _figure("claims where one batch cannot show the fault", others, detected),
    ]


def _false_alarms(records: list[Record]) -> list[Figure]:
    repaired = [record for record in records if record["group"] == "repaired"]
    ordinary = [record for record in records if record["group"] != "repaired"]
    return [
        _figure("false alarms, healthy", ordinary, false_alarm),
        _figure("false alarms, repaired", repaired, false_alarm),
    ]


def _precision(faulty: list[Record], others: list[Record]) -> list[Figure]:
    """Of all alarms, those for faults that can be seen, and those that name them."""
    if not faulty or not others:
        return []
    seen = [record for record in faulty if record["visible"]]
    right, wrong = sum(map(detected, seen)), sum(map(false_alarm, others))
    return [
        Figure("precision of detection", right, right + wrong),
        Figure("precision of the cause", sum(map(cause_named, seen)), right + wrong),
    ]


def cured(record: Record) -> int:
    """How many remedies of a case leave no claim of the kind that they are against."""
    # One that raises has no diagnosis behind it.
    pairs = zip(record["against"], record["left"], strict=False)
    return sum(kind not in left for kind, left in pairs)


def _remedies(records: list[Record]) -> list[Figure]:
    records = [record for record in records if tried(record)]
    asked = [record for record in records if not record["error"]]
    given = sum(len(record["applied"]) for record in asked)
    return [
        Figure(
            "remedies after which their claim is gone", sum(map(cured, asked)), given
        ),
        _figure("single remedies that work", records, single_works),
        _figure("chains of remedies that work", records, works),
        _figure("healthy after remedies", records, heals),
    ]


def _monitor(records: list[Record]) -> list[Figure]:
    runs = diverging(records)
    return [
        _figure("Monitor: false alarms", records, training_alarm),
        _figure("Monitor: losses announced", list(filter(lost, runs)), announced),
        _figure("Monitor: groundless alarms at high rates", runs, groundless),
    ]
