"""The parent's side of the arms: one process each, of which one at a time computes."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
# What a message about a failure quotes of the process's own.
LAST_LINES = 15


class WorkerFailed(RuntimeError):
    """The process of an arm has ended before its work."""


class Worker:
    """The process of one arm, from its first step on.

    Args:
        module: Name of the module that declares the benchmark.
        benchmark: `benchmarks.common.benchmark.Benchmark`.
        arm: Name of the arm.
        quick: bool. What the arm's `build` receives.

    Attributes:
        measures: Dict of what was measured up to the first step.
        environment: Dict of the backend and the versions.

    Raises:
        WorkerFailed: If the arm cannot be built or fails in a step; the message holds
            the end of what the process wrote to its standard error.
    """

    def __init__(self, module, benchmark, arm, quick):
        self.name = f"{benchmark.name}/{arm}"
        environment = os.environ | benchmark.arms[arm].environment
        # The arm's own path first, for arms that measure other code.
        path = [environment.get("PYTHONPATH"), str(ROOT)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            # -P: what is imported does not depend on the working directory.
            [sys.executable, "-P", "-m", "benchmarks.common.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        request = {"module": module, "benchmark": benchmark.name, "arm": arm}
        try:
            ready = self._ask(request | {"quick": quick, "warmup": benchmark.warmup})
        except BaseException:
            self.close()
            raise
        self.measures = ready["measures"]
        self.environment = ready["environment"]

    def run(self, steps):
        """Has the arm run `steps` steps: a dict of what one of them took."""
        return self._ask({"steps": steps})

    def close(self):
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def _ask(self, request):
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(self._failure())
        return json.loads(line)

    def _failure(self):
        status = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()[-LAST_LINES:]
        return "\n".join([f"{self.name} ended with exit status {status}:", *lines])
