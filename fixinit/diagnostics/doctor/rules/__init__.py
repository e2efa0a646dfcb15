"""Rules of the doctor: what each kind of finding is seen by.

A rule is a function from `Evidence` to the findings of one kind or of a few that share
their evidence. A new one is a function in a module here, and an entry in `RULES`.
"""

from collections.abc import Callable, Iterable

from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.rules import (
    branches,
    heads,
    initialization,
    inputs,
    labels,
    losses,
    memory,
    outputs,
    rates,
    regularization,
    signals,
    statistics,
    structure,
    targets,
    units,
)
from fixinit.diagnostics.report.finding import Finding, in_order

Rule = Callable[[Evidence], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    *inputs.RULES,
    *targets.RULES,
    *labels.RULES,
    *heads.RULES,
    *losses.RULES,
    *structure.RULES,
    *statistics.RULES,
    *initialization.RULES,
    *signals.RULES,
    *memory.RULES,
    *branches.RULES,
    *units.RULES,
    *regularization.RULES,
    *outputs.RULES,
    *rates.RULES,
)


def findings(evidence: Evidence) -> list[Finding]:
    """All findings, in the order in which they should be mended."""
    return in_order([found for rule in RULES for found in rule(evidence)])
