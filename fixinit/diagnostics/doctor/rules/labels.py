"""Rules of labels: classes that no unit stands for, and classes without a label."""

from collections.abc import Iterator

import numpy as np

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence, differs
from fixinit.diagnostics.doctor.heads import BINARY, SPARSE, Head
from fixinit.diagnostics.report.finding import Finding

# An absent class is by chance with at most this probability.
_CHANCE = 1e-3
# Of two classes, one is often rare: with 459 samples, one of 1 % is missing by chance
# in one case of a hundred.
_RARE = 459


def label_range(evidence: Evidence) -> Iterator[Finding]:
    """Labels beyond the units, of one class alone, or units that no label has."""
    for head in evidence.heads:
        labels = _counted(head)
        if head.units == 1 and head.is_binary and head.loss in BINARY:
            yield from _one_of_two(head)
        if labels is None or (head.units == 1 and head.loss not in SPARSE):
            continue
        # Of a loss of somebody's own, integers may be no classes, or not of its units.
        if not head.is_cross_entropy:
            continue
        yield from _beyond(evidence, head, labels)
        yield from _absent(head, labels)


def _counted(head: Head) -> np.ndarray | None:
    """The labels without those that the loss leaves out (`ignore_class`)."""
    labels = head.labels
    if labels is None or head.ignored is None:
        return labels
    kept = labels[labels != head.ignored]
    return kept if kept.size else None


def _beyond(evidence: Evidence, head: Head, labels: np.ndarray) -> Iterator[Finding]:
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < head.units:
        return
    yield Finding(
        "label_range",
        "error",
        head.name,
        float(high),
        f"Labels of `{head.name}` go from {low} to {high}, and its {head.units} units "
        f"are classes 0 to {head.units - 1}. The loss of the others is undefined.",
        relabelled(evidence, head, labels),
    )


def relabelled(evidence: Evidence, head: Head, labels: np.ndarray) -> str:
    """Code that counts classes from 0, or makes a head with a unit for each."""
    low, high = int(labels.min()), int(labels.max())
    if len(evidence.heads) > 1:
        return ""
    if high - low < head.units:
        return f"y = y {'-' if low > 0 else '+'} {abs(low)}"
    count = len(np.unique(labels))
    renamed = "y = np.searchsorted(np.unique(y), y)" if low < 0 else None
    if renamed and count <= head.units:
        return renamed
    units = count if renamed else high + 1
    new = remedies.new_head(evidence, head, units, "softmax")
    return compiled(
        evidence, remedies.lines(new, renamed), '"sparse_categorical_crossentropy"'
    )


def _absent(head: Head, labels: np.ndarray) -> Iterator[Finding]:
    present, count = np.unique(labels), len(labels)
    if head.units < 2 or present.min() < 0 or present.max() >= head.units:
        return
    if head.units == 2 and len(present) == 1:
        yield from _one_of_two(head)
        return
    assert head.target is not None
    if len(present) == 1 and head.units ** (1.0 - len(head.target)) < _CHANCE:
        yield Finding(
            "label_range",
            "warning",
            head.name,
            1.0,
            f"All {count} labels of `{head.name}` are of class {present[0]}: the "
            "network learns to ignore its inputs. Look at how labels are read; a part "
            "of data that are sorted by class is to be drawn at random.",
        )
        return
    missing = sorted(set(range(head.units)) - set(present.tolist()))
    chance = head.units * (1 - 1 / head.units) ** count
    if missing and chance < _CHANCE:
        yield Finding(
            "label_range",
            "note",
            head.name,
            float(len(missing)),
            f"{len(missing)} of {head.units} units of `{head.name}` have no label "
            f"among {count}, first {missing[0]}.",
        )


def _one_of_two(head: Head) -> Iterator[Finding]:
    """Of two classes, the only one that there is."""
    y = head.target
    assert y is not None
    found = y if head.labels is None else head.labels
    if differs(y) or len(y) < _RARE:
        return
    yield Finding(
        "label_range",
        "warning",
        head.name,
        1.0,
        f"All {len(y)} labels of `{head.name}` are the same, {found.ravel()[0]:g}: "
        "there is nothing to tell apart. Look at how labels are read and converted.",
    )


RULES = (label_range,)
