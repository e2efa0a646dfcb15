"""The page of a diagnosis: one HTML file, without scripts and without a network."""

import base64
import io
import pathlib

from fixinit.diagnostics.report.figure import check_labels, draw
from fixinit.diagnostics.report.table import COLUMNS, number

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
# More rows make a page that browsers show slowly.
_MAX_LAYERS = 2000


def render(diagnoses, labels=None):
    """The HTML of one diagnosis, or of several side by side."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            'Pages need Jinja: pip install "fixinit[diagnostics]".'
        ) from error
    labels = check_labels(diagnoses, labels)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("diagnosis.html").render(
        title=" / ".join(labels),
        figure=_png(draw(diagnoses, labels)),
        parts=[
            _part(diagnosis, label)
            for diagnosis, label in zip(diagnoses, labels, strict=True)
        ],
    )


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _part(diagnosis, label):
    first = [] if diagnosis.input is None else [diagnosis.input]
    return {
        "label": label,
        "verdict": diagnosis.verdict,
        "facts": f"{len(diagnosis.blocks)} residual blocks, {len(diagnosis.layers)} "
        f"layers, {diagnosis.batch_size} samples",
        "tables": [
            _table("Residual blocks", [*first, *diagnosis.blocks]),
            _table("Layers", diagnosis.layers[:_MAX_LAYERS]),
        ],
        "left_out": max(0, len(diagnosis.layers) - _MAX_LAYERS),
    }


def _table(title, rows):
    shown = [c for c in COLUMNS if any(number(row.get(c[1])) for row in rows)]
    return {
        "title": title,
        "columns": [title for title, _ in shown],
        "rows": [
            {"name": row["name"], "cells": [number(row.get(key)) for _, key in shown]}
            for row in rows
        ],
    }
