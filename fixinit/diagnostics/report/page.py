"""Page of a diagnosis: one HTML file, without scripts and without a network."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fixinit import _pages, _plotting
from fixinit.diagnostics.report.figure import check_labels, draw
from fixinit.diagnostics.report.table import columns_of, number

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# More rows make a page that browsers show slowly.
_MAX_LAYERS = 2000


def render(
    diagnoses: Sequence["Diagnosis"], labels: Sequence[str] | None = None
) -> str:
    """Renders the HTML of one diagnosis, or of several side by side."""
    template = _pages.environment(_TEMPLATES).get_template("diagnosis.html")
    labels = check_labels(diagnoses, labels)
    return template.render(
        title=" / ".join(labels),
        figure=_plotting.png_uri(draw(diagnoses, labels)),
        parts=[
            _part(diagnosis, label)
            for diagnosis, label in zip(diagnoses, labels, strict=True)
        ],
    )


def _part(diagnosis: "Diagnosis", label: str) -> dict[str, Any]:
    first = [] if diagnosis.input is None else [diagnosis.input]
    return {
        "label": label,
        "findings": diagnosis.findings or [diagnosis.verdict],
        "facts": f"{len(diagnosis.blocks)} residual blocks, {len(diagnosis.layers)} "
        f"layers, {diagnosis.batch_size} samples",
        "tables": [
            _table("Residual blocks", [*first, *diagnosis.blocks]),
            _table("Layers", diagnosis.layers[:_MAX_LAYERS]),
        ],
        "left_out": max(0, len(diagnosis.layers) - _MAX_LAYERS),
    }


def _table(title: str, rows: Sequence[Any]) -> dict[str, Any]:
    shown = columns_of(rows)
    return {
        "title": title,
        "columns": [heading for heading, _ in shown],
        "rows": [
            {
                "name": row.name,
                "cells": [number(getattr(row, measure, None)) for _, measure in shown],
            }
            for row in rows
        ],
    }
