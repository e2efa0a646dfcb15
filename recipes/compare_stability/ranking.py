"""The ranking of schemes at each depth, at each one's best learning rate."""

import math

from recipes.common.experiment import reading as read
from recipes.common.experiment.tables import as_text, format_number, format_percent
from recipes.common.plotting.style import scheme_style
from recipes.compare_stability.reading import chance_loss, last_value
from recipes.compare_stability.summary import ends_of_depths

# Title and key of a place in the ranking.
COLUMNS = (
    ("Depth", "depth"),
    ("Place", "place"),
    ("Scheme", "label"),
    ("Test accuracy (%)", "test_accuracy"),
    ("Best rate", "learning_rate"),
    ("Rates that train", "stable"),
    ("Milliseconds a step", "step"),
    ("Memory (MB)", "memory"),
)


def ranking(results, rows):
    """One row for each place, shallowest network first, best accuracy first.

    Schemes whose means differ by less than the standard error of the difference over
    seeds share a place with the best of them.

    Args:
        results: dict. The content of results.json.
        rows: Its rows, from `recipes.compare_stability.summary.summarize`.

    Returns:
        A list of dicts with the keys of `COLUMNS`.
    """
    found = []
    for depth in dict.fromkeys(row["depth"] for row in rows):
        group = [row for row in rows if row["depth"] == depth and row["seeds"]]
        group.sort(key=lambda row: -_accuracy(row))
        leader, place = None, 0
        for number, row in enumerate(group, start=1):
            if leader is None or _is_behind(row, leader):
                leader, place = row, number
            found.append(_ranked(results, row, place))
    return found


def _accuracy(row):
    """That of a scheme of which no seed was lost; the others follow."""
    value = row["test_accuracy"]
    lost = row["num_diverged"] / row["seeds"]
    return -1.0 if math.isnan(value) else value - lost


def _is_behind(row, leader):
    """Whether a mean is lower by more than the standard error of the difference."""
    difference = _accuracy(leader) - _accuracy(row)
    errors = [
        0.0 if math.isnan(x["test_accuracy_std"]) else x["test_accuracy_std"]
        for x in (row, leader)
    ]
    error = math.hypot(*errors) / math.sqrt(row["seeds"])
    return difference > error


def _ranked(results, row, place):
    steps = row["steps_per_second"]
    return {
        "depth": row["depth"],
        "place": place,
        "scheme": row["scheme"],
        "label": scheme_style(row["scheme"])["label"],
        "test_accuracy": format_percent(row["test_accuracy"], row["test_accuracy_std"]),
        "learning_rate": f"{row['learning_rate']:g}" if row["learning_rate"] else "–",
        "stable": stable_rates(results, row["scheme"], row["depth"]),
        "step": format_number(1000 / steps) if steps > 0 else "–",
        "memory": format_number(row["peak_memory_mb"]),
    }


def stable_rates(results, scheme, depth):
    """The lowest and the highest rate of the map whose short run learned something.

    Its last training loss is below that of a network that guesses. `+` and `-` say
    that a rate beyond was not tried.
    """
    limit = chance_loss(results) or math.inf
    maps = read.select(results, "map", scheme, depth)
    tried = sorted(arm["learning_rate"] for arm in maps)
    good = sorted(
        arm["learning_rate"] for arm in maps if last_value(arm, "train_loss") < limit
    )
    if not good:
        return "none"
    low = f"{good[0]:g}" + ("-" if good[0] == tried[0] else "")
    high = f"{good[-1]:g}" + ("+" if good[-1] == tried[-1] else "")
    return f"{low} to {high}"


def format_table(ranked):
    """The ranking as text for a terminal."""
    cells = [[str(row[key]) for _, key in COLUMNS] for row in ranked]
    titles = [title for title, _ in COLUMNS]
    return as_text(titles, cells, labels=3, ends=ends_of_depths(ranked))
