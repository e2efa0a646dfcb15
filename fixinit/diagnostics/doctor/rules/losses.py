"""Rules of losses: what they compare must be what targets and outputs are."""

from collections.abc import Iterator, Sequence

import numpy as np

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import (
    BINARY,
    CATEGORICAL,
    PROBABILITIES,
    REGRESSIONS,
    SPARSE,
    Head,
)
from fixinit.diagnostics.doctor.rules.heads import activated
from fixinit.diagnostics.report.finding import Finding

_SMOOTHED = 0.5


def loss_mismatch(evidence: Evidence) -> Iterator[Finding]:
    """Losses that do not fit the targets."""
    for head in evidence.heads:
        y = head.target
        if y is None or y.size == 0:
            continue
        yield from _forms(evidence, head)
        yield from _smoothed(evidence, head)
        if head.loss in REGRESSIONS:
            yield from _regression_of_labels(evidence, head)
        elif head.loss in BINARY:
            yield from _binary(evidence, head)


def _smoothed(evidence: Evidence, head: Head) -> Iterator[Finding]:
    """Label smoothing that leaves less of the labels than it adds."""
    smoothing = getattr(head.given, "label_smoothing", None)
    if not smoothing or smoothing <= _SMOOTHED or not head.is_cross_entropy:
        return
    yield Finding(
        "loss_mismatch",
        "warning",
        head.name,
        float(smoothing),
        f"`label_smoothing={smoothing:g}` of `{head.loss}` replaces so much of every "
        "label by the same for all classes. Published: 0.1.",
        compiled(
            evidence, loss=remedies.loss_named(head.loss, head.from_logits), head=head
        ),
    )


def _forms(evidence: Evidence, head: Head) -> Iterator[Finding]:
    """Targets of another form than the loss takes: classes, one-hot rows, numbers."""
    y, h = head.target, head.prediction
    if y is None or h is None or head.units < 2:
        return
    # One for all units: a class, or a number that every unit is compared with.
    is_single = y.shape[1:] in (h.shape[1:-1], (*h.shape[1:-1], 1))
    is_whole = np.array_equal(y, np.round(y)) and 0 <= y.min() and y.max() < head.units
    if head.loss in SPARSE and head.has_rows:
        yield _of_another_form(
            evidence, head, "error", "one-hot rows", "classes as integers", CATEGORICAL
        )
    elif head.loss in CATEGORICAL and is_single and is_whole:
        yield _of_another_form(
            evidence, head, "error", "classes as integers", "one-hot rows", SPARSE
        )
    elif head.loss in REGRESSIONS and is_single:
        yield _of_another_form(
            evidence, head, "warning", "single numbers", f"{head.units} for a sample"
        )


def _of_another_form(
    evidence: Evidence,
    head: Head,
    severity: str,
    given: str,
    taken: str,
    fitting: Sequence[str] = (),
) -> Finding:
    assert head.target is not None
    shape = tuple(head.target.shape[1:])
    if fitting:
        wrong = "the two cannot be compared."
        loss = remedies.loss_named(fitting[0], head.from_logits)
        remedy = compiled(evidence, loss=loss, head=head)
    else:
        wrong = f"each of the {head.units} units learns the same."
        new = remedies.new_head(evidence, head, 1, head.activation)
        remedy = compiled(evidence, new) if head.activation else ""
    return Finding(
        "loss_mismatch",
        severity,
        head.name,
        float(head.units),
        f"Targets of `{head.name}` are {given}, of shape {shape} each, and "
        f"`{head.loss}` over {head.units} units takes {taken}: {wrong}",
        remedy,
    )


def _regression_of_labels(evidence: Evidence, head: Head) -> Iterator[Finding]:
    classes = head.labels is not None and head.units > 1
    if not classes and not (head.is_binary and head.activation == "sigmoid"):
        return
    absolute = head.loss == "mean_absolute_error"
    bounded = head.activation in PROBABILITIES
    fits = "softmax" if classes else "sigmoid"
    loss = remedies.loss_of_labels(head)
    yield Finding(
        "loss_mismatch",
        "warning" if classes or absolute else "note",
        head.name,
        float(head.units),
        f"Targets of `{head.name}` are classes, and `{head.loss}` is a loss of "
        "numbers: its gradient vanishes where the network is wrong and sure.",
        compiled(evidence, loss=loss, head=head)
        if bounded
        else activated(evidence, head, fits, loss),
    )


def _binary(evidence: Evidence, head: Head) -> Iterator[Finding]:
    if head.activation == "softmax" and head.units > 2 and head.labels is not None:
        yield Finding(
            "loss_mismatch",
            "warning",
            head.name,
            float(head.units),
            f"`{head.name}` tells {head.units} classes apart with a softmax, and "
            f"`{head.loss}` takes every unit for a question of its own: it is small "
            "as soon as most units are near zero.",
            compiled(evidence, loss='"categorical_crossentropy"', head=head),
        )
    elif head.activation == "linear" and not head.is_binary and head.labels is None:
        y = head.target
        assert y is not None
        if y.min() < 0 or y.max() > 1:
            yield Finding(
                "loss_mismatch",
                "error",
                head.name,
                float(np.abs(y).max()),
                f"Targets of `{head.name}` are numbers from {y.min():.3g} to "
                f"{y.max():.3g}, and `{head.loss}` is a loss of probabilities.",
                compiled(evidence, loss='"mean_squared_error"', head=head),
            )


RULES = (loss_mismatch,)
