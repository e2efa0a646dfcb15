"""Page of a diagnosis: one HTML file, without scripts and without a network."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fixinit import _pages, _plotting
from fixinit.diagnostics.report.columns import Histogram
from fixinit.diagnostics.report.figure import check_labels, draw
from fixinit.diagnostics.report.headings import asked_of, words
from fixinit.diagnostics.report.table import columns_of, number

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# More rows make a page that browsers show slowly.
_MAX_LAYERS = 2000
# Of the bars of a histogram, in pixels.
_HEIGHT = 20


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
        "asked": words(diagnosis.asked),
        "tables": [
            *_tables("Residual blocks", [*first, *diagnosis.blocks]),
            *_tables("Layers", diagnosis.layers[:_MAX_LAYERS]),
        ],
        "left_out": max(0, len(diagnosis.layers) - _MAX_LAYERS),
    }


def _tables(title: str, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The table of what is always measured, and that of what was asked for."""
    histograms = asked_of(rows, Histogram)
    names = [*histograms, *(name for name in asked_of(rows) if name not in histograms)]
    asked = [(name.replace("_", " "), name) for name in names]
    tables = [_table(title, rows, columns_of(rows))]
    if asked:
        tables.append(_table(f"{title}: asked for", rows, asked))
    return tables


def _table(
    title: str, rows: Sequence[Any], shown: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "title": title,
        "columns": [heading for heading, _ in shown],
        "rows": [
            {
                "name": row.name,
                "cells": [_cell(row.get(measure)) for _, measure in shown],
            }
            for row in rows
        ],
    }


def _cell(value: Any) -> str | dict[str, Any]:
    """What a cell shows: a number, or a histogram's bars and its ends."""
    if not isinstance(value, Histogram):
        return number(value)
    heights = value.shares / max(value.shares.max(), 1e-30)
    bars = [
        f"M{2 * i} {_HEIGHT}v{-_HEIGHT * height:.1f}h2V{_HEIGHT}"
        for i, height in enumerate(heights)
        if height > 0
    ]
    low, high = value.edges[0], value.edges[-1]
    return {
        "path": "".join(bars),
        "width": 2 * len(heights),
        "height": _HEIGHT,
        "ends": f"{number(float(low))} to {number(float(high))}",
    }
