"""The report of a comparison: one HTML file that needs no network and no script."""

import base64
import pathlib
import shlex

import jinja2

from recipes.common import arms as read
from recipes.common import figures as figures_lib
from recipes.common import findings
from recipes.common.style import scheme_style
from recipes.common.summary import COLUMNS, format_cell, summarize

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write_report(results, figures, output_dir):
    """Writes `report.html`, with the figures inside it.

    Args:
        results: dict. The content of results.json.
        figures: Paths of the PNGs, as `recipes.common.plots.draw_all` returns them.
        output_dir: Path. Directory to write to; it is made where it is missing.

    Returns:
        The `pathlib.Path` of the report.
    """
    rows = summarize(results)
    chance = read.chance_loss(results)
    html = render(
        "report.html",
        title=results.get("title") or results.get("recipe") or "Results",
        byline=_byline(results),
        summary=findings.describe(results, rows),
        columns=[
            {"title": title, "is_text": key == "label"} for title, key, _ in COLUMNS
        ],
        table=_table(rows),
        figures=[_figure(pathlib.Path(path)) for path in figures],
        bound=_bound(results),
        reasons=_reasons(results),
        has_map=bool(read.select(results, "map")),
        trained=f" below that of a network that guesses, {chance:.2f}"
        if chance
        else " that is finite",
        command=[shlex.quote(word) for word in _command(results)],
        config=_facts(results.get("config")),
        environment=_facts(results.get("environment")),
    )
    path = pathlib.Path(output_dir) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    return path


def render(template, **context):
    """Fills a template of `recipes/common/templates`; values are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(context)


def embed_png(path):
    """A PNG as a data URI, which a browser opens without another file."""
    data = base64.b64encode(pathlib.Path(path).read_bytes()).decode("ascii")
    return f"data:image/png;base64,{data}"


def _command(results):
    """The words of the command that gives these results again."""
    words = ["python", "-m", f"recipes.{results.get('recipe', 'compare_stability')}"]
    backend = (results.get("environment") or {}).get("backend") or "tensorflow"
    if backend != "tensorflow":
        words.insert(0, f"KERAS_BACKEND={backend}")
    for name, value in (results.get("config") or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        elif isinstance(value, (list, tuple)):
            words.append(f"--{name}={','.join(map(str, value))}")
        else:
            words.append(f"--{name}={value}")
    return words


def _byline(results):
    environment = results.get("environment") or {}
    parts = [f"Recipe {results.get('recipe', 'compare_stability')}"]
    if results.get("started"):
        parts.append(f"started {results['started']}")
    if results.get("seconds") is not None:
        minutes, seconds = divmod(round(read.number(results["seconds"])), 60)
        parts.append(f"took {minutes} min {seconds} s")
    if environment.get("fixinit"):
        parts.append(f"fixinit {environment['fixinit']}")
    return " · ".join(parts)


def _table(rows):
    table = []
    previous = None
    for row in rows:
        cells = [
            {
                "key": key,
                "text": format_cell(row, key),
                "is_bad": key == "diverged" and row["num_diverged"] > 0,
            }
            for _, key, _ in COLUMNS
        ]
        table.append(
            {
                "cells": cells,
                "color": scheme_style(row["scheme"])["color"],
                "starts_group": previous not in (None, row["depth"]),
            }
        )
        previous = row["depth"]
    return table


def _figure(path):
    module = figures_lib.ALL.get(path.stem)
    name = path.stem.replace("_", " ")
    return {
        "name": path.stem,
        "uri": embed_png(path),
        "title": getattr(module, "TITLE", name.capitalize()),
        "caption": getattr(module, "CAPTION", ""),
        "alt": getattr(module, "ALT", name),
    }


def _bound(results):
    """The bound on the loss, where the run's flags name one."""
    config = results.get("config") or {}
    bound = config.get("divergence_loss")
    return "" if bound is None else f" of {bound:g}"


def _reasons(results):
    reasons = [
        arm["diverged"].get("reason") or "no reason recorded"
        for arm in read.select(results)
        if arm.get("diverged")
    ]
    counts = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
    # Losses differ from arm to arm; name the most frequent reasons only.
    ranked = sorted(counts, key=counts.get, reverse=True)[:3]
    return "; ".join(f"“{reason}” in {counts[reason]} runs" for reason in ranked)


def _facts(values):
    def text(value):
        if isinstance(value, (list, tuple)):
            return ", ".join(map(str, value))
        return "not set" if value is None else str(value)

    return [(name, text(value)) for name, value in (values or {}).items()]
