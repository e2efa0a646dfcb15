"""What `python -m benchmarks` prints, and the machine it ran on."""

import os
import pathlib
import platform
import re

from recipes.common.experiment.tables import as_text

VERDICTS = {True: "pass", False: "FAIL", None: "-"}
# Instructions that decide how fast a processor multiplies in each precision.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16", "bf16")


def table(results):
    """A table of all ratios; `results` as in the JSON file."""
    columns = ("benchmark", "ratio", "median", "quartiles", "limit", "")
    rows = []
    for result in results:
        for ratio in result["ratios"]:
            rows.append(
                (
                    result["name"],
                    ratio["name"],
                    _number(ratio["median"]),
                    " to ".join(map(_number, ratio["quartiles"] or [])) or "-",
                    _number(ratio["limit"]),
                    VERDICTS[ratio["passed"]],
                )
            )
        if result["error"]:
            rows.append((result["name"], "did not run", "-", "-", "-", "FAIL"))
    return as_text(columns, rows, labels=len(columns))


def machine():
    """A dict of what the ratios may depend on besides the code."""
    try:
        processor = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        processor = ""
    model = re.search(r"model name\s*: (.+)", processor)
    flags = set(processor.split())
    return {
        "cpu_count": os.cpu_count(),
        "processor": model.group(1) if model else platform.processor(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _number(value):
    return "-" if value is None else f"{value:.3g}"
