"""Rules of residual blocks: branches that never open, or outweigh their shortcut."""

import math
from collections.abc import Iterator

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.rows import BlockRow

# Mean squares, 30 in magnitude: a normalized branch beside embeddings as Keras draws
# them is about 10 times its shortcut.
_DOMINATES = 900.0


def never_opens(evidence: Evidence) -> Iterator[Finding]:
    """Branches that start at zero, and that no gradient opens."""
    diagnosis = evidence.diagnosis
    closed = diagnosis.closed
    if not closed:
        return
    yield Finding(
        "never_opens",
        "error",
        closed[0],
        float(len(closed)),
        f"The branches of {len(closed)} of {len(diagnosis.blocks)} blocks never open, "
        f"first {closed[0]}: they give zero, and no gradient reaches the weights in "
        "them, though one reaches the block. Two zeros, or a zero and a factor near "
        "zero, stand one behind the other: draw all layers of a branch but one.",
        _drawn(evidence, closed),
    )


def _drawn(evidence: Evidence, closed: list[str]) -> str:
    """Code that draws the kernels of zeros in closed branches anew."""
    names = []
    blocks = {row.name: row for row in evidence.diagnosis.blocks}
    for block in closed:
        for name in blocks[block].weights:
            call = evidence.calls.get(name)
            row = evidence.rows.get(name)
            if call is None or row is None or not evidence.is_layer(call):
                continue
            if row.weight_mean_square == 0 and call.operation.kernel is not None:
                names.append(call.operation.name)
    if not names:
        return ""
    return remedies.redrawn(names, "HeNormal")


def branch_dominates(evidence: Evidence) -> Iterator[Finding]:
    """A first branch that is far larger than its shortcut."""
    blocks = evidence.diagnosis.blocks
    if not blocks or not blocks[0].branch_to_shortcut > _DOMINATES:
        return
    row = blocks[0]
    yield Finding(
        "branch_dominates",
        "warning",
        row.name,
        row.branch_to_shortcut**0.5,
        f"The branch of the first block, {row.name}, is "
        f"{row.branch_to_shortcut**0.5:.3g} times as large as its shortcut: what the "
        "network reads is lost in it.",
        _shrunk(evidence, row),
    )


def _shrunk(evidence: Evidence, row: BlockRow) -> str:
    """Code that makes a branch as large as its shortcut, by the last kernel of it."""
    call = evidence.calls.get(row.weights[-1]) if row.weights else None
    if (
        call is None
        or not evidence.is_layer(call)
        or getattr(call.operation, "kernel", None) is None
        or evidence.normalized_behind(call)
        or not math.isfinite(row.branch_to_shortcut)
    ):
        return ""
    return remedies.rescaled_kernel(call.operation.name, row.branch_to_shortcut**-0.5)


RULES = (never_opens, branch_dominates)
