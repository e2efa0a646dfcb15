"""Rules of units: rectifiers that are dead, bounded activations at their bounds."""

import math
from collections.abc import Iterator

from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.report.finding import Finding
from fixinit.graph import Call

# Where inputs are alike, half of the units of a drawn layer are zero for all of them:
# share of dead units, and how many deviations of chance it must be above a half.
_DEAD, _DEVIATIONS, _FEWEST = 0.8, 3.0, 8
_SATURATED = 0.8


def dead_units(evidence: Evidence) -> Iterator[Finding]:
    """Rectifiers of which most units are zero for all samples."""
    found = []
    for call in evidence.graph.calls:
        row = evidence.rows.get(call.name)
        count = _channels(evidence, call)
        if row is None or not row.is_cut or count < _FEWEST:
            continue
        bound = max(_DEAD, min(1.0, 0.5 + _DEVIATIONS * 0.5 / math.sqrt(count)))
        if row.dead >= bound:
            found.append((row, count))
    if not found:
        return
    worst, count = max(found, key=lambda pair: pair[0].dead)
    yield Finding(
        "dead_units",
        "error" if worst.dead == 1 else "warning",
        worst.name,
        worst.dead,
        f"{100 * worst.dead:.0f} % of the {count} units of {worst.name} are zero for "
        f"all {evidence.diagnosis.batch_size} samples, and get no gradient; "
        f"{len(found)} layers are like this.",
    )


def _channels(evidence: Evidence, call: Call) -> int:
    value = call.outputs[0]
    shape = evidence.graph.specs[value].shape
    if len(shape) < 2:
        return 1
    return int(shape[evidence.graph.channel_axes[value]] or 1)


def saturated(evidence: Evidence) -> Iterator[Finding]:
    """Bounded hidden activations of which most stand at their bounds."""
    ends = {head.layer for head in evidence.heads}
    rows = [
        row
        for row in evidence.diagnosis.layers
        if row.saturated > _SATURATED and row.is_cut and row.name not in ends
    ]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.saturated)
    yield Finding(
        "saturated",
        "warning",
        worst.name,
        worst.saturated,
        f"{100 * worst.saturated:.0f} % of the outputs of {worst.name} stand at the "
        "bounds of its activation, where it has no slope: what it reads is too large.",
    )


RULES = (dead_units, saturated)
