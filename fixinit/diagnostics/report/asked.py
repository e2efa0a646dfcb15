"""Columns of a report that were asked for, by layer."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from fixinit.diagnostics.report.columns import COSTS, Cost, bytes_of, costs
from fixinit.diagnostics.report.measure import Measure, Measured
from fixinit.diagnostics.report.row import Row

# From a call's name, and its index in the stacks around it, to columns by name.
Asked: TypeAlias = Callable[[str, tuple[int, ...]], Mapping[str, Any]]
_MEASURES = {"flops": COSTS[:1], "bytes": COSTS[1:]}


def nothing(name: str, index: tuple[int, ...]) -> Mapping[str, Any]:
    """The columns where nothing was asked for."""
    return {}


def asked_columns(measure: Measure, found: Measured, batch_size: int) -> Asked:
    """The columns that `measure.columns` asks for.

    Args:
        measure: `Measure`.
        found: What it gave for a batch.
        batch_size: int. Size of that batch.
    """
    columns = measure.columns
    if not columns.names:
        return nothing
    counted: dict[str, Cost] = {}
    if columns.counts:
        counted = costs(measure.graph, found.shapes, batch_size)

    def asked(name: str, index: tuple[int, ...]) -> Mapping[str, Any]:
        row: dict[str, Any] = {}
        if name in counted:
            cost = dataclasses.asdict(counted[name])
            kept = [c for m in columns.names for c in _MEASURES.get(m, ())]
            row.update({column: cost[column] for column in kept})
        row.update(columns.read(found.asked_forward[name][index]))
        gradient = columns.read(found.asked_backward[name][index], found.scale)
        row.update({f"gradient_{column}": v for column, v in gradient.items()})
        return row

    return asked


def whole_costs(model: keras.Model, layers: Sequence[Row]) -> dict[str, float]:
    """Sums of FLOPs and of bytes, where they were asked for. Weights count once."""
    columns = [c for c in COSTS if layers and c in layers[0].asked]
    found = {c: float(sum(row.asked[c] for row in layers)) for c in columns}
    if "parameter_bytes" in found:
        held = [bytes_of(w.shape, w.dtype) for w in model.weights]
        found["parameter_bytes"] = float(sum(held))
    return found
