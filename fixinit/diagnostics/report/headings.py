"""Headings of the columns that were asked for, and what they hold for a whole model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fixinit.diagnostics.report.columns import Histogram

_SHORT = {
    "flops": "FLOPs",
    "parameter_bytes": "w bytes",
    "activation_bytes": "h bytes",
    "kurtosis": "kurtosis",
    "gradient_kurtosis": "dh kurt.",
}
_FORMATS = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3": "e4m3",
    "float8_e5m2": "e5m2",
}
_SIGNS = {"overflow": ">", "underflow": "<"}
# What is known of a whole model, in words.
_WORDS = {
    "flops": "{} FLOPs per sample",
    "parameter_bytes": "{} bytes of weights",
    "activation_bytes": "{} bytes of activations per sample",
    "noise_scale": "gradient noise scale {} samples",
    "largest_eigenvalue": "largest eigenvalue of the Hessian {}",
    "overshoot": "overshoot {}",
}


def asked_of(rows: Sequence[Any], kind: type = float) -> list[str]:
    """Lists the columns of one kind that were asked for and have a value."""
    names = dict.fromkeys(name for row in rows for name in row.asked)
    return [name for name in names if any(_holds(row, name, kind) for row in rows)]


def _holds(row: Any, name: str, kind: type) -> bool:
    value = row.asked.get(name)
    if kind is Histogram or isinstance(value, Histogram):
        return isinstance(value, kind)
    return value is not None and not math.isnan(value)


def short(name: str) -> str:
    """A heading of at most nine characters; h is an activation, dh its gradient."""
    if name in _SHORT:
        return _SHORT[name]
    rest = name.removeprefix("gradient_")
    number_format, _, side = rest.rpartition("_")
    heading = f"{_SIGNS[side]} {_FORMATS[number_format]}"
    return heading if rest == name else f"dh {heading}"


def words(asked: Mapping[str, float]) -> list[str]:
    """What was asked for of a whole model, one string for each."""
    return [
        _WORDS[name].format("unknown" if math.isnan(value) else f"{value:.4g}")
        for name, value in asked.items()
    ]
