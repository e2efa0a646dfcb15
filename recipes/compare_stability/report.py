"""The report of a comparison: table, findings, and what the columns mean."""

from recipes.common.experiment import reading as read
from recipes.common.experiment import report
from recipes.common.plotting.style import scheme_style
from recipes.compare_stability import findings, ranking
from recipes.compare_stability.reading import chance_loss
from recipes.compare_stability.summary import COLUMNS, format_cell, summarize


def write_report(results, figures, output_dir):
    """Writes `report.html`, with the figures inside it, and returns its path.

    Args:
        results: dict. The content of results.json.
        figures: What `recipes.common.plotting.figure.draw_all` returns.
        output_dir: Path. Directory to write to; it is made where it is missing.
    """
    rows = summarize(results)
    chance = chance_loss(results)
    return report.write_report(
        "comparison.html",
        results,
        figures,
        output_dir,
        summary=findings.describe(results, rows),
        columns=[
            {"title": title, "is_text": key == "label"} for title, key, _ in COLUMNS
        ],
        table=_table(rows),
        ranking_columns=[title for title, _ in ranking.COLUMNS],
        ranking=_ranking(results, rows),
        bound=_bound(results),
        reasons=_reasons(results),
        has_map=bool(read.select(results, "map")),
        trained=f" below that of a network that guesses, {chance:.2f}"
        if chance
        else " that is finite",
    )


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


def _ranking(results, rows):
    """The cells of the ranking, row by row."""
    found, previous = [], None
    for row in ranking.ranking(results, rows):
        found.append(
            {
                "cells": [row[key] for _, key in ranking.COLUMNS],
                "color": scheme_style(row["scheme"])["color"],
                "starts_group": previous not in (None, row["depth"]),
            }
        )
        previous = row["depth"]
    return found


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
