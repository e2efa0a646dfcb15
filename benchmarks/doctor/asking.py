"""Asks the doctor, and keeps what it says."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit import diagnostics

# The doctor sees so many samples of a data set.
SAMPLES = 512
CLAIMS = ("error", "warning")

# From a compiled model, inputs and targets to findings.
Doctor = Callable[[keras.Model, Any, Any], list[Any]]


def diagnosed(model: keras.Model, x: Any, y: Any) -> list[Any]:
    """The findings of `fixinit.diagnostics.diagnose`."""
    return list(diagnostics.diagnose(model, x, y).findings)


def ask(doctor: Doctor, model: keras.Model, x: Any, y: Any) -> list[dict[str, Any]]:
    """The findings for the first samples of a data set, as dicts."""
    x, y = (keras.tree.map_structure(lambda v: v[:SAMPLES], data) for data in (x, y))
    return [as_dict(finding) for finding in doctor(model, x, y)]


def as_dict(finding: Any) -> dict[str, Any]:
    fields = ("kind", "severity", "where", "value", "cause", "remedy")
    found = {field: getattr(finding, field) for field in fields}
    return found | {"value": float(found["value"])}


def claims(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The findings that say that something is wrong; notes do not."""
    return [finding for finding in findings if finding["severity"] in CLAIMS]


def kinds(findings: list[dict[str, Any]]) -> list[str]:
    """The kinds that are claimed, each once, in the order of what to mend first."""
    return list(dict.fromkeys(finding["kind"] for finding in claims(findings)))
