"""The process of one arm: builds it, then runs steps when it is told to.

It speaks JSON, one object a line. The first line on its standard input says which arm
it is; it answers, once the arm is warm, with what it measured on the way. Every further
line, `{"steps": 3}`, asks for steps; the answer holds the seconds of one of them. It
ends with its input.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import sys
import time

from recipes.common.training.memory import PeakMemory

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy")


def main():
    answer = _answers()
    request = json.loads(sys.stdin.readline())
    module = importlib.import_module(request["module"])
    benchmarks = {benchmark.name: benchmark for benchmark in module.BENCHMARKS}
    arm = benchmarks[request["benchmark"]].arms[request["arm"]]

    seconds, built = _timed(arm.build, request["quick"])
    step, measures = built if isinstance(built, tuple) else (built, {})
    measures = {"build": seconds, **measures}
    measures["first_step"], _ = _timed(step)
    for _ in range(request["warmup"]):
        step()
    answer({"measures": measures, "environment": _environment()})

    for line in sys.stdin:
        answer(_turn(step, json.loads(line)["steps"]))


def _turn(step, steps):
    """Runs `steps` steps; seconds and memory of one."""
    peak, resident = PeakMemory(), _resident_megabytes()
    processor = time.process_time()
    seconds, _ = _timed(lambda: [step() for _ in range(steps)])
    processor = time.process_time() - processor
    measured = {"step": seconds / steps, "processor": processor / steps}
    if peak.megabytes() is not None and resident is not None:
        measured["memory"] = max(0.0, peak.megabytes() - resident)
    return measured


def _timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def _resident_megabytes():
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _environment():
    """The backend, and the versions of the packages that this arm uses."""
    loaded = [package for package in PACKAGES if package in sys.modules]
    environment = {name: importlib.metadata.version(name) for name in loaded}
    if "keras" in loaded:
        environment["backend"] = sys.modules["keras"].backend.backend()
    return environment


def _answers():
    """A function that answers the parent, out of reach of anything that prints."""
    stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content):
        print(json.dumps(content), file=stream, flush=True)

    return answer


if __name__ == "__main__":
    main()
