"""What is done with each case: a function of the case and a seed to a record.

A record is a dict that JSON holds: `"part"`, `"name"`, `"seed"`, `"seconds"`, `"error"`
(what was raised, or `None`), and what the part has found.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from benchmarks.doctor import asking, labels, mending, training, watching
from benchmarks.doctor.loading import Build, Cases, Faulty

Record = dict[str, Any]

# Longer trainings show no more of a remedy, and take minutes.
MAX_STEPS = 500
REPAIRED_STEPS = 60
# Learning rates, relative to the case's own, at which most networks diverge.
FACTORS = (30.0, 1000.0)
DIVERGENCE_STEPS = 60


def detection(case: Faulty, seed: int, doctor: asking.Doctor) -> Record:
    """What the doctor finds in a faulty program."""
    findings = asking.ask(doctor, *case.faulty())
    found = asking.kinds(findings)
    return {
        "findings": findings,
        "kinds": found,
        "named": labels.named(case.faults, found),
    }


def remedies(case: Faulty, seed: int, doctor: asking.Doctor) -> Record:
    """What remedies make of a faulty program."""
    model, x, y = case.faulty()
    truth = training.Truth.of(y)
    # A program of five faults takes five remedies.
    rounds = max(mending.ROUNDS, len(case.faults))
    mended = mending.mend(doctor, model, x, y, rounds)
    record: Record = {
        "claimed": mended.claimed,
        "applied": mended.applied,
        "against": mended.against,
        "left": mended.left,
        "raised": mended.error,
        "better": None,
    }
    if not mended.applied or mended.error or mended.left[-1]:
        return record
    learning = truth, case.batch, min(case.steps, MAX_STEPS), seed
    try:
        after = training.learning(mended.model, mended.x, mended.y, *learning)
    except Exception as error:  # Whatever a remedy leads to is its result.
        return record | {"raised": mending.described(error)}
    before = _unmended(case, learning)
    better = training.is_better(after, before)
    return record | {"before": list(before), "after": list(after), "better": better}


def _unmended(case: Faulty, learning: tuple[Any, ...]) -> tuple[float, float]:
    """How well the faulty program learns; not at all if it cannot be trained."""
    # The remedies may have changed the model that was built before.
    prepare(learning[-1])
    try:
        return training.learning(*case.faulty(), *learning)
    except Exception:
        return -math.inf, -math.inf


def healthy(build: Build, seed: int, doctor: asking.Doctor) -> Record:
    """What the doctor finds in a program without faults."""
    findings = asking.ask(doctor, *build())
    return {"findings": findings, "kinds": asking.kinds(findings)}


def monitor(build: Build, seed: int, batch: int, steps: int) -> Record:
    """Whether `Monitor` is silent in good trainings, and warns of divergence."""
    model, x, y = build()
    start = watching.Start(model)
    record: Record = {"training": watching.watch(model, x, y, batch, steps, seed)}
    diverging = {}
    for factor in FACTORS:
        start.restore()
        diverging[f"{factor:g}"] = watching.watch_divergence(
            model, x, y, batch, DIVERGENCE_STEPS, seed, factor
        )
    return record | {"diverging": diverging}


def prepare(seed: int) -> None:
    """Makes what follows depend on the seed alone."""
    # Collecting garbage takes longer than many a case; Python does it in its own time.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)


def measured(function: Callable[[], Record], facts: Record) -> Record:
    """The record of one part of one case, whatever it raises."""
    began = time.monotonic()
    record = facts | {"error": None}
    try:
        prepare(facts["seed"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record |= function()
    except Exception as error:  # One case must not end the others.
        record["error"] = mending.described(error)
    return record | {"seconds": round(time.monotonic() - began, 2)}


Job = tuple[Record, Callable[[], Record]]


def jobs(cases: Cases, seed: int, doctor: asking.Doctor) -> Iterator[Job]:
    """All jobs of one seed: the facts of each, and the function that measures it."""
    for case in cases.faulty:
        facts = {
            "name": case.name,
            "seed": seed,
            "faults": list(case.faults),
            "visible": case.visible,
        }
        yield facts | {"part": "detection"}, _bound(detection, case, seed, doctor)
        yield facts | {"part": "remedies"}, _bound(remedies, case, seed, doctor)
    builds: list[tuple[str, str, Build, int, int]] = [
        (case.name, case.group, case.make, 32, case.train) for case in cases.healthy
    ]
    builds += [
        (case.name, "repaired", case.repaired, case.batch, REPAIRED_STEPS)
        for case in cases.faulty
    ]
    for name, group, build, batch, steps in builds:
        facts = {"name": name, "seed": seed, "group": group}
        yield facts | {"part": "healthy"}, _bound(healthy, build, seed, doctor)
        if steps:
            bound = _bound(monitor, build, seed, batch, steps)
            yield facts | {"part": "monitor"}, bound


def _bound(function: Callable[..., Record], *arguments: Any) -> Callable[[], Record]:
    return lambda: function(*arguments)


PARTS = ("detection", "remedies", "healthy", "monitor")
