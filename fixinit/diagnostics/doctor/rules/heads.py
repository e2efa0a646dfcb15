"""Rules of heads: the last activation must fit the loss and the targets."""

from collections.abc import Iterator

import numpy as np

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import (
    BINARY,
    CATEGORICAL,
    DIVERGENCES,
    NO_NUMBERS,
    POISSON,
    PROBABILITIES,
    REGRESSIONS,
    SPARSE,
    Head,
)
from fixinit.diagnostics.doctor.rules.labels import relabelled
from fixinit.diagnostics.report.finding import Finding

# By what sums of soft labels differ from 1 in rounding.
_ROUNDING = 0.01


def last_activation(evidence: Evidence) -> Iterator[Finding]:
    """Last activations that cannot give what the loss or the targets need."""
    for head in evidence.heads:
        if head.activation == "softmax":
            yield from _softmax(evidence, head)
        elif head.activation in PROBABILITIES:
            yield from _sigmoid(evidence, head)
        elif (
            head.is_cross_entropy and head.from_logits and np.isfinite(head.range).any()
        ):
            yield _clipped_logits(evidence, head)
        elif head.activation and head.loss in (*POISSON, *DIVERGENCES):
            yield from _logarithm(evidence, head)


def _logarithm(evidence: Evidence, head: Head) -> Iterator[Finding]:
    """Losses that take the logarithm of an output that may be negative."""
    low, high = head.range
    is_rate = head.loss in POISSON
    if low >= 0 and (is_rate or high <= 1):
        return
    wanted = "rates above 0" if is_rate else "probabilities"
    yield Finding(
        "last_activation",
        "error",
        head.layer,
        _reached(head)[0],
        f"`{head.loss}` takes the logarithm of what it reads, {wanted}, and "
        f"`{head.layer}` ends in {head.activation}: what is not positive is clipped, "
        "or gives NaN.",
        activated(evidence, head, "exponential" if is_rate else "softmax"),
    )


def activated(evidence: Evidence, head: Head, name: str, loss: str = "") -> str:
    """Code that sets the last activation, and the loss if one is given."""
    return compiled(evidence, remedies.activation(evidence, head, name), loss, head)


def _softmax(evidence: Evidence, head: Head) -> Iterator[Finding]:
    if head.units == 1:
        name, loss, labels = "sigmoid", "", head.labels
        if head.loss in REGRESSIONS and not head.is_binary:
            name, labels = "linear", None
        elif head.loss in (*CATEGORICAL, *SPARSE):
            loss = '"binary_crossentropy"'
        yield Finding(
            "last_activation",
            "error",
            head.layer,
            1.0,
            f"The softmax of `{head.layer}` is over one unit, which makes it 1 for "
            "every input: nothing can be learned.",
            activated(evidence, head, name, loss)
            if head.is_binary or labels is None
            else relabelled(evidence, head, labels),
        )
    elif head.target is not None and _several(head):
        yield Finding(
            "last_activation",
            "error",
            head.layer,
            float(head.target.sum(-1).max()),
            f"The outputs of the softmax of `{head.layer}` add up to 1, and rows of "
            f"the targets add up to {head.target.sum(-1).min():g} to "
            f"{head.target.sum(-1).max():g}: samples have several labels, or none.",
            activated(evidence, head, "sigmoid", '"binary_crossentropy"'),
        )
    elif head.target is not None and _adds_up_elsewhere(head):
        y = head.target
        inside = y.min() >= 0 and y.max() <= 1
        yield Finding(
            "last_activation",
            "error",
            head.layer,
            float(np.median(y.sum(-1))),
            f"The outputs of the softmax of `{head.layer}` add up to 1, and rows of "
            f"the targets add up to {y.sum(-1).min():.3g} to {y.sum(-1).max():.3g}.",
            activated(evidence, head, "sigmoid" if inside else "linear"),
        )


def _adds_up_elsewhere(head: Head) -> bool:
    """Whether most rows of numbers are no distributions over the units."""
    y = head.target
    if y is None or not head.has_rows or head.loss not in (*BINARY, *REGRESSIONS):
        return False
    return bool(np.median(np.abs(y.sum(-1) - 1)) > _ROUNDING)


def _several(head: Head) -> bool:
    """Whether rows of 0 and 1 mark another number of labels than one."""
    y = head.target
    if y is None or y.ndim < 2 or y.shape[-1] != head.units:
        return False
    return bool(np.isin(y, (0, 1)).all() and (y.sum(-1) != 1).any())


def _sigmoid(evidence: Evidence, head: Head) -> Iterator[Finding]:
    if head.loss not in (*CATEGORICAL, *SPARSE) or head.from_logits:
        return
    if head.units == 1:
        yield Finding(
            "last_activation",
            "error",
            head.layer,
            1.0,
            f"`{head.loss}` over the one unit of `{head.layer}` is the same whatever "
            "the network gives: two classes need binary cross-entropy, or two units.",
            compiled(evidence, loss='"binary_crossentropy"', head=head),
        )
        return
    yield Finding(
        "last_activation",
        "warning",
        head.layer,
        float(head.units),
        f"`{head.loss}` compares distributions over classes, and the {head.units} "
        f"{head.activation} outputs of `{head.layer}` are none: they do not add up to "
        "1.",
        activated(evidence, head, "softmax"),
    )


def _clipped_logits(evidence: Evidence, head: Head) -> Finding:
    low, high = head.range
    return Finding(
        "last_activation",
        "warning",
        head.layer,
        low if np.isfinite(low) else high,
        f"The loss of `{head.name}` reads logits, which may be any number, and the "
        f"{head.activation} of `{head.layer}` keeps them in [{low:g}, {high:g}].",
        activated(evidence, head, "linear"),
    )


def logits_mismatch(evidence: Evidence) -> Iterator[Finding]:
    """Probabilities for a loss of logits, or the reverse."""
    for head in evidence.heads:
        if not head.is_cross_entropy or head.activation == "":
            continue
        probable = head.activation in PROBABILITIES
        if head.from_logits and probable:
            yield Finding(
                "logits_mismatch",
                "warning",
                head.layer,
                1.0,
                f"The loss of `{head.name}` has `from_logits=True`, and "
                f"`{head.layer}` ends in a {head.activation}: it is applied twice "
                "where Keras does not notice, and gradients shrink.",
                activated(evidence, head, "linear"),
            )
        elif not head.from_logits and not probable and not _in_unit(head):
            low, high = _reached(head)
            yield Finding(
                "logits_mismatch",
                "error",
                head.layer,
                max(-low, high),
                f"The loss `{head.loss}` of `{head.name}` reads probabilities, and "
                f"`{head.layer}` ends in {head.activation}, with outputs from "
                f"{low:.3g} to {high:.3g}: what is below 0 or above 1 is clipped, and "
                "has no gradient.",
                compiled(evidence, loss=remedies.loss_of_labels(head, True), head=head),
            )


def _in_unit(head: Head) -> bool:
    low, high = head.range
    return low >= 0 and high <= 1


def _reached(head: Head) -> tuple[float, float]:
    if head.prediction is None or not head.prediction.size:
        return head.range
    return float(head.prediction.min()), float(head.prediction.max())


def target_range(evidence: Evidence) -> Iterator[Finding]:
    """Targets outside of what the last activation can give."""
    for head in evidence.heads:
        y, (low, high) = head.target, head.range
        if y is None or y.size == 0 or head.from_logits:
            continue
        # Targets of a loss of somebody's own may be anything.
        if head.loss in ("", *NO_NUMBERS) or head.loss in BINARY and y.ndim < 1:
            continue
        if (
            not np.isfinite([low, high]).any()
            or head.activation == "softmax"
            and head.units == 1
        ):
            continue
        slack = 1e-3 * max(1.0, *(abs(v) for v in (low, high) if np.isfinite(v)))
        outside = (y < low - slack) | (y > high + slack)
        if not outside.any():
            continue
        share = float(outside.mean())
        yield Finding(
            "target_range",
            "error" if share > 0.05 else "warning",
            head.layer,
            share,
            f"{100 * share:.3g} % of the targets of `{head.name}` lie outside of "
            f"[{low:g}, {high:g}], what the {head.activation} of `{head.layer}` can "
            f"give: they go from {y.min():.3g} to {y.max():.3g}.",
            _reachable(evidence, head),
        )


def _reachable(evidence: Evidence, head: Head) -> str:
    y = head.target
    assert y is not None
    whole = np.array_equal(y, np.round(y))
    classes = np.unique(y) if whole else np.array([])
    if head.loss in BINARY and whole and 2 < len(classes) <= 1000:
        # Several classes for one unit.
        lowest = f" - {int(classes.min())}" if classes.min() else ""
        squeezed = f'y = np.squeeze(y, -1).astype("int32"){lowest}'
        if y.shape[-1:] != (1,):
            squeezed = f'y = y.astype("int32"){lowest}'
        count = int(classes.max() - classes.min()) + 1
        return compiled(
            evidence,
            remedies.lines(
                remedies.new_head(evidence, head, count, "softmax"), squeezed
            ),
            '"sparse_categorical_crossentropy"',
        )
    if head.loss in BINARY and whole and len(classes) == 2:
        return f'y = (y == {classes.max():g}).astype("float32")'
    return activated(evidence, head, "linear")


RULES = (last_activation, logits_mismatch, target_range)
