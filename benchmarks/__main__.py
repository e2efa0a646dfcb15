"""Runs the benchmarks and prints their ratios beside their limits.

    python -m benchmarks
    python -m benchmarks --only=resnet110 --repeats=50

Every arm of a benchmark has a process of its own, and the arms take turns, so that only
one computes at a time and a busy machine slows all alike. Ratios are medians over the
turns. Nothing else should run meanwhile all the same: it would slow most what waits
for memory. The exit status is 1 if a benchmark failed or a ratio is above its limit.
"""

import dataclasses
import importlib
import os
import pathlib
import pkgutil
import sys

# Before Keras is imported, which brings in TensorFlow and its messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags  # noqa: E402

import benchmarks  # noqa: E402
from benchmarks.common import report  # noqa: E402
from benchmarks.common.measuring import measure  # noqa: E402
from benchmarks.common.processes import WorkerFailed  # noqa: E402
from recipes.common.experiment import files  # noqa: E402


def find():
    """All benchmarks of this package: dict of name to (benchmark, module name)."""
    found = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.ispkg or module.name == "__main__":
            continue
        name = f"benchmarks.{module.name}"
        for benchmark in importlib.import_module(name).BENCHMARKS:
            if benchmark.name in found:
                raise ValueError(f"Two benchmarks are named {benchmark.name!r}.")
            found[benchmark.name] = benchmark, name
    return found


def run(found, quick=False):
    """Runs benchmarks one after the other.

    Args:
        found: Dict of name to (benchmark, module name), as `find` returns.
        quick: bool. Few and small steps, to see that the benchmarks run.

    Returns:
        List of dicts, one per benchmark. A benchmark that failed holds the reason in
        `"error"` and no ratios.
    """
    results = []
    for name, (benchmark, module) in found.items():
        print(f"{name}: {', '.join(benchmark.arms)}", flush=True)
        result = {"name": name, "error": None, "ratios": []}
        try:
            result |= measure(benchmark, module, quick)
        except WorkerFailed as failure:
            print(failure, file=sys.stderr)
            result["error"] = str(failure)
        results.append(result)
    return results


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Flags start with --. Received: {argv[1]}")
    values = flags.FLAGS
    found = find()
    for name in values.only:
        if name not in found:
            raise app.UsageError(
                f"Flag --only takes names of {list(found)}. Received: {name!r}"
            )
    selected = {
        name: (_repeated(benchmark, values.repeats), module)
        for name, (benchmark, module) in found.items()
        if not values.only or name in values.only
    }
    results = run(selected, values.quick)
    print("\n" + report.table(results))

    output = pathlib.Path(values.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    contents = {"machine": report.machine(), "quick": values.quick}
    files.write_json(output, contents | {"benchmarks": results})
    print(f"\n{output}")
    passed = [ratio["passed"] for result in results for ratio in result["ratios"]]
    failed = any(result["error"] for result in results) or False in passed
    return int(failed)


def define_flags(values=flags.FLAGS):
    flags.DEFINE_list(
        "only", [], "Names of the benchmarks to run, all by default.", values
    )
    flags.DEFINE_integer(
        "repeats",
        None,
        "How often every arm has its turn, by default what each benchmark declares.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "output", "results/benchmarks.json", "File for all that was measured.", values
    )
    flags.DEFINE_bool(
        "quick",
        False,
        "Few and small steps: shows that the benchmarks run, no more.",
        values,
    )


def _repeated(benchmark, repeats):
    if repeats is None:
        return benchmark
    return dataclasses.replace(benchmark, repeats=repeats)


if __name__ == "__main__":
    define_flags()
    app.run(main)
