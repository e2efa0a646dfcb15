"""Runs a benchmark: its arms take turns, so that what disturbs one disturbs all."""

import collections
import contextlib
import dataclasses
import math
import statistics

import numpy as np

from benchmarks.common.processes import Worker


def measure(benchmark, module, quick=False):
    """Runs the arms of `benchmark` side by side.

    Args:
        benchmark: `benchmarks.common.benchmark.Benchmark`.
        module: Name of the module that declares it, from which the arms' processes
            read their arms.
        quick: bool. Few and small steps, whose ratios mean nothing.

    Returns:
        Dict of `"ratios"` (see `evaluate`), `"measures"` (arm to measure to the list of
        all values, seconds or MB) and `"environment"` (arm to backend and versions).

    Raises:
        benchmarks.common.processes.WorkerFailed: If an arm fails.
    """
    if quick:
        benchmark = benchmark.quick()
    measures = {arm: collections.defaultdict(list) for arm in benchmark.arms}
    environment = {}
    for _ in range(benchmark.starts):
        with contextlib.ExitStack() as stack:
            workers = {}
            # One after the other: a first step has the machine for itself.
            for arm in benchmark.arms:
                workers[arm] = Worker(module, benchmark, arm, quick)
                stack.callback(workers[arm].close)
                environment[arm] = workers[arm].environment
                _append(measures[arm], workers[arm].measures)
            for _ in range(math.ceil(benchmark.repeats / benchmark.starts)):
                for arm, worker in workers.items():
                    _append(measures[arm], worker.run(benchmark.steps))
    for measured in measures.values():
        steady = statistics.median(measured["step"])
        measured["compile"] = [first - steady for first in measured["first_step"]]
    return {
        "ratios": [
            evaluate(ratio, measures, judge=not quick) for ratio in benchmark.ratios
        ],
        "measures": measures,
        "environment": environment,
    }


def evaluate(ratio, measures, judge=True):
    """The ratio's median and quartiles over the turns.

    Numerator and denominator of one turn were measured one right after the other, so
    the ratios are taken turn by turn: a busy machine slows both.

    Returns:
        Dict of the ratio's declaration and of `"median"`, `"quartiles"`, `"values"`
        (how many) and `"passed"`, which is `None` where nothing is judged. Without
        measurements, as of memory where the system does not tell it, the statistics
        are `None`, and what has a limit has not passed.
    """
    values = np.array(measures[ratio.numerator].get(ratio.measure, []))
    if ratio.denominator is not None:
        values = values / np.array(measures[ratio.denominator].get(ratio.measure, []))
    result = dataclasses.asdict(ratio) | {"values": len(values)}
    result |= {"median": None, "quartiles": None, "passed": None}
    if len(values):
        quartiles = np.percentile(values, [25, 50, 75]).tolist()
        result |= {"median": quartiles[1], "quartiles": quartiles[::2]}
    if judge and ratio.limit is not None:
        result["passed"] = len(values) > 0 and result["median"] <= ratio.limit
    return result


def _append(lists, values):
    for name, value in values.items():
        lists[name].append(value)
