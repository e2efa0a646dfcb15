"""Findings of a comparison as sentences, computed from its numbers."""

import math

import numpy as np

from recipes.common.experiment import reading as read
from recipes.common.experiment.tables import format_number, format_percent
from recipes.common.plotting.style import scheme_style
from recipes.compare_stability.reading import relative_growth


def describe(results, rows):
    """One paragraph on schemes that trained, the best, divergence, and predictions.

    Args:
        results: dict. The content of results.json.
        rows: Its rows, from `recipes.compare_stability.summary.summarize`.

    Returns:
        A string.
    """
    rows = [row for row in rows if row["seeds"]]
    if not rows:
        return "No network was trained in full yet."
    deepest = [row for row in rows if row["depth"] == max(r["depth"] for r in rows)]
    sentences = [
        _trained(deepest),
        _best(deepest),
        _diverged(rows),
        _overflows(results),
        _stopped(results),
        _disagreement(rows),
        _map(results),
        _coincidences(results),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _join(words):
    words = list(words)
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def _trained(deepest):
    depth = deepest[0]["depth"]
    trained = [row["label"] for row in deepest if row["trained"]]
    others = [row["label"] for row in deepest if not row["trained"]]
    if not trained:
        return f"At depth {depth}, the deepest network, no scheme trained."
    if not others:
        names = (
            "the only scheme" if len(trained) == 1 else f"all {len(trained)} schemes"
        )
        return f"At depth {depth}, the deepest network, {names} trained."
    return (
        f"At depth {depth}, the deepest network, {_join(trained)} trained; "
        f"{_join(others)} did not."
    )


def _best(deepest):
    known = [row for row in deepest if not math.isnan(row["test_accuracy"])]
    if not known:
        return ""
    best = max(known, key=lambda row: row["test_accuracy"])
    accuracy = format_percent(best["test_accuracy"], best["test_accuracy_std"])
    finished = best["seeds"] - best["num_diverged"]
    over = (
        "one seed"
        if finished == 1
        else f"mean ± standard deviation over {finished} seeds"
    )
    return (
        f"The best test accuracy there is {accuracy} % ({over}), with {best['label']}."
    )


def _diverged(rows):
    failed = {}
    for row in rows:
        if row["num_diverged"]:
            failed.setdefault(row["label"], []).append(row)
    if not failed:
        return "No full run diverged."
    texts = [
        f"{label} at depth {_join(map(_where, found))}"
        for label, found in failed.items()
    ]
    return f"Diverged: {'; '.join(texts)}."


def _where(row):
    steps = sorted(step for step in row["diverged_steps"] if step is not None)
    if not steps:
        at = ""
    elif steps[0] == steps[-1]:
        at = f", step {steps[0]}"
    else:
        at = f", steps {steps[0]} to {steps[-1]}"
    return f"{row['depth']} ({row['num_diverged']} of {row['seeds']} seeds{at})"


def _overflows(results):
    """The block of the deepest network whose activations overflow at initialization."""
    arms = read.select(results, "train")
    deepest = [arm for arm in arms if arm["depth"] == max(a["depth"] for a in arms)]
    blocks = {}
    for arm in deepest:
        measured, _ = relative_growth(arm)
        if np.isinf(measured).any():
            # The first value is that of the input.
            block = int(np.isinf(measured).argmax())
            label = scheme_style(arm["scheme"])["label"]
            blocks.setdefault(label, []).append(block)
    return " ".join(
        f"At initialization, the activations of {label} overflow in block "
        f"{min(found):,} of {deepest[0]['num_blocks']:,}."
        for label, found in blocks.items()
    )


def _stopped(results):
    """Arms that were stopped early because they learned nothing."""
    return " ".join(
        f"{scheme_style(arm['scheme'])['label']} at depth {arm['depth']} was stopped "
        f"after epoch {len(arm['epochs'])}: its loss was that of a guess or higher."
        for arm in read.select(results, "train")
        if arm.get("gave_up")
    )


def _disagreement(rows):
    known = [row for row in rows if not math.isnan(row["disagreement"])]
    if not known:
        return ""
    worst = max(known, key=lambda row: row["disagreement"])
    return (
        "Until it overflows, the measured mean square of the activations stays within "
        f"a factor of {format_number(worst['disagreement'])} of its closed-form "
        f"prediction (largest disagreement: {worst['label']}, depth {worst['depth']}, "
        f"block {worst['disagreement_block']})."
    )


def _map(results):
    arms = read.select(results, "map")
    if not arms:
        return ""
    diverged = sum(bool(arm.get("diverged")) for arm in arms)
    return (
        f"In the map of learning rates, {diverged} of {len(arms)} short runs diverged."
    )


def _coincidences(results):
    """Names schemes whose arms agree in every number: their curves are one."""
    labels = {}
    for scheme in read.schemes(results):
        course = _course(read.select(results, scheme=scheme))
        if course is not None:
            labels.setdefault(course, []).append(scheme_style(scheme)["label"])
    return " ".join(
        f"{_join(names)} coincide: they are the same network here."
        for names in labels.values()
        if len(names) > 1
    )


def _course(arms):
    """Everything measured in the arms of a scheme, except time."""
    # Without a finished epoch, networks that differ may look the same.
    if not any(arm.get("epochs") for arm in arms):
        return None
    keys = ("kind", "depth", "learning_rate", "seed", "diverged")
    runs = [
        (
            *(arm.get(key) for key in keys),
            [{**epoch, "seconds": None} for epoch in arm.get("epochs") or []],
        )
        for arm in arms
    ]
    # As text, in which nan equals nan.
    return repr(sorted(map(repr, runs)))
