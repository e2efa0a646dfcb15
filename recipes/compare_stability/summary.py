"""The numbers of a comparison: one row for each depth and scheme.

The terminal's table and the report take their numbers, and how they are written,
from here, so they agree.
"""

import math

import numpy as np

from recipes.common.experiment import reading as read
from recipes.common.experiment.tables import as_text, format_number, format_percent
from recipes.common.plotting.style import scheme_style
from recipes.compare_stability.reading import (
    chance_loss,
    last_value,
    magnitudes,
    relative_growth,
)

# Title, key of a row and name in the terminal, where there is less room.
COLUMNS = (
    ("Depth", "depth", "depth"),
    ("Scheme", "label", "scheme"),
    ("Learning rate", "learning_rate", "rate"),
    ("Diverged", "diverged", "diverged"),
    ("Test accuracy (%)", "test_accuracy", "test acc. %"),
    ("Final train loss", "train_loss", "loss"),
    ("Growth, measured", "growth", "growth"),
    ("Growth, predicted", "predicted_growth", "predicted"),
    ("Initial gradient norm", "gradient_norm", "gradient"),
    ("Steps per second", "steps_per_second", "steps/s"),
    ("Peak memory (MB)", "peak_memory_mb", None),
)


def _mean_std(values):
    """Mean and sample standard deviation; nan where there are too few values."""
    values = [x for x in values if not math.isnan(x)]
    if not values:
        return math.nan, math.nan
    with np.errstate(over="ignore"):
        mean = float(np.mean(values))
        # Infinite values have no spread.
        spread = len(values) > 1 and math.isfinite(mean)
        return mean, float(np.std(values, ddof=1)) if spread else math.nan


def _disagreement(arms):
    """Largest factor between measured and predicted mean square, and its block.

    Compares means over seeds, where both are finite: past the overflow there is
    nothing to compare.
    """
    pairs = [relative_growth(arm) for arm in arms]
    pairs = [(m, p) for m, p in pairs if m.size and m.shape == p.shape]
    if not pairs:
        return math.nan, None
    measured, predicted = (read.mean_of(curves) for curves in zip(*pairs, strict=True))
    valid = np.isfinite(measured) & np.isfinite(predicted)
    valid &= (measured > 0) & (predicted > 0)
    if not valid.any():
        return math.nan, None
    ratio = np.zeros(len(valid))
    ratio[valid] = np.abs(np.log(measured[valid]) - np.log(predicted[valid]))
    return float(np.exp(ratio.max())), int(ratio.argmax())


def _best_rate(map_arms):
    """The rate of the map with the lowest final loss, none of its seeds diverged."""
    losses = {}
    for arm in map_arms:
        losses.setdefault(arm["learning_rate"], []).append(
            last_value(arm, "train_loss")
        )
    means = {rate: np.mean(values) for rate, values in losses.items()}
    means = {rate: mean for rate, mean in means.items() if math.isfinite(mean)}
    return min(means, key=means.get) if means else None


def summarize(results):
    """One row for each depth and scheme, from the arms on disk.

    Args:
        results: dict. The content of results.json.

    Returns:
        A list of dicts, shallowest network first. Means and standard deviations
        are taken over the seeds that did not diverge; what is unknown is nan or
        `None`. `trained` says whether every seed ended below the loss of a guess.
    """
    return [
        _row(results, depth, scheme)
        for depth in read.depths(results)
        for scheme in read.schemes(results)
        if read.select(results, scheme=scheme, depth=depth)
    ]


def _row(results, depth, scheme):
    arms = read.select(results, "train", scheme, depth)
    maps = read.select(results, "map", scheme, depth)
    rates = list(dict.fromkeys(arm["learning_rate"] for arm in arms))
    row = {
        "scheme": scheme,
        "label": scheme_style(scheme)["label"],
        "depth": depth,
        "num_blocks": (arms + maps)[0].get("num_blocks"),
        "parameters": (arms + maps)[0].get("parameters"),
        "learning_rate": rates[0] if rates else _best_rate(maps),
        "seeds": len(arms),
        "num_diverged": sum(bool(arm.get("diverged")) for arm in arms),
        "diverged_steps": [
            arm["diverged"].get("step") for arm in arms if arm.get("diverged")
        ],
        "map_arms": len(maps),
        "map_diverged": sum(bool(arm.get("diverged")) for arm in maps),
    }
    losses = [last_value(arm, "train_loss") for arm in arms]
    limit = chance_loss(results) or math.inf
    row["trained"] = bool(losses) and all(loss < limit for loss in losses)
    growth = [relative_growth(arm) for arm in arms]
    initial = [arm.get("initial") or {} for arm in arms]
    quantities = {
        "train_loss": losses,
        "test_accuracy": [last_value(arm, "test_accuracy") for arm in arms],
        "growth": [measured[-1] for measured, _ in growth if measured.size],
        "predicted_growth": [
            predicted[-1] for _, predicted in growth if predicted.size
        ],
        "gradient_norm": magnitudes(x.get("gradient_norm") for x in initial),
        "steps_per_second": [read.number(a.get("steps_per_second")) for a in arms],
        "peak_memory_mb": [read.number(a.get("peak_memory_mb")) for a in arms],
    }
    for key, values in quantities.items():
        row[key], row[f"{key}_std"] = _mean_std(values)
    row["disagreement"], row["disagreement_block"] = _disagreement(arms)
    return row


def format_cell(row, key):
    """The text of one entry of a row, in the terminal and in the report alike."""
    if key == "diverged":
        return f"{row['num_diverged']} of {row['seeds']}" if row["seeds"] else "–"
    value = row[key]
    if key == "test_accuracy":
        return format_percent(value, row["test_accuracy_std"])
    if key == "learning_rate":
        return "–" if value is None else f"{value:g}"
    return format_number(value) if isinstance(value, float) else str(value)


def format_table(rows):
    """The rows of `summarize` as text for a terminal, about 95 characters wide."""
    columns = [(key, name) for _, key, name in COLUMNS if name]
    cells = [[format_cell(row, key) for key, _ in columns] for row in rows]
    names = [name for _, name in columns]
    return as_text(names, cells, labels=2, ends=ends_of_depths(rows))


def ends_of_depths(rows):
    """The indices of rows behind which another depth begins."""
    depths = [row["depth"] for row in rows]
    return [i for i in range(len(rows) - 1) if depths[i] != depths[i + 1]]
