"""Measures the doctor on faulty, repaired and healthy programs.

    python -m benchmarks.doctor
    python -m benchmarks.doctor --seeds=0,1,2 --json=results/doctor.json
    python -m benchmarks.doctor --only=xor_mae --parts=detection,remedies
    python -m benchmarks.doctor --cases=more.py

A *claim* is a finding of `fixinit.diagnostics.diagnose` that is an error or a warning.
A fault is *detected* if anything is claimed, and its *cause* is named if the kind of a
claim belongs to one of its labels (`labels.KINDS`). Any claim about a healthy or a
repaired program is a false alarm. A remedy *works* if, run as printed, it leaves
nothing to claim, and if training then gets further than without it, in accuracy or R^2.
`Monitor`, with its defaults, must be silent where programs without faults train, and
announce at 30 and 1000 times their learning rates that the loss will not be finite.
"""

import importlib
import logging
import os
import time

# Before Keras is imported, which brings in TensorFlow and its messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags  # noqa: E402

from benchmarks.doctor import asking, loading, parts, report  # noqa: E402
from recipes.common.experiment import files  # noqa: E402
from recipes.common.experiment.progress import Progress  # noqa: E402


def run(
    cases: loading.Cases,
    seeds: list[int],
    chosen: list[str],
    doctor: asking.Doctor,
) -> list[parts.Record]:
    """Measures the chosen parts, case after case, and says how far it is."""
    jobs = [
        job
        for seed in seeds
        for job in parts.jobs(cases, seed, doctor)
        if job[0]["part"] in chosen
    ]
    progress, records = Progress(len(jobs)), []
    for facts, function in jobs:
        progress.start(f"{facts['part']} {facts['name']}")
        records.append(parts.measured(function, facts))
        progress.advance(1)
        progress.write(report.line(records[-1]))
    progress.finish()
    return records


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Flags start with --. Received: {argv[1]}")
    # Which warns that models are compiled one after the other.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    values, began = flags.FLAGS, time.monotonic()
    try:
        found = [loading.load(path) for path in values.cases]
        if values.visible:
            built_in = importlib.import_module("benchmarks.doctor.cases")
            found.insert(0, loading.of_module(built_in))
        cases = loading.merged(found).only(values.only)
    except loading.CasesError as error:
        raise app.UsageError(str(error)) from error
    seeds = [int(seed) for seed in values.seeds] or [values.seed]
    records = run(cases, seeds, values.parts, asking.diagnosed)
    print(f"\n{report.text(records)}")
    print(f"\n{time.monotonic() - began:.0f} seconds")
    if values.json:
        files.write_json(values.json, {"records": records})
        print(values.json)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    flags.DEFINE_multi_string(
        "cases", [], "Python file with more CASES and HEALTHY.", values
    )
    flags.DEFINE_bool("visible", True, "Whether to measure the cases here.", values)
    flags.DEFINE_list("only", [], "Names of cases, all by default.", values)
    flags.DEFINE_integer("seed", 0, "Seed of all draws.", flag_values=values)
    flags.DEFINE_list("seeds", [], "Several seeds, in the place of --seed.", values)
    flags.DEFINE_string("json", None, "File for every finding.", values)
    flags.DEFINE_list("parts", list(parts.PARTS), "What to measure.", values)
    flags.register_multi_flags_validator(
        ["parts"],
        lambda given: set(given["parts"]) <= set(parts.PARTS),
        f"--parts takes names of {', '.join(parts.PARTS)}.",
        values,
    )
    flags.register_validator(
        "seeds",
        lambda given: all(seed.isdecimal() for seed in given),
        "--seeds takes integers, as in 0,1,2.",
        values,
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
