"""Optimizers with rates by role of variables, and with adaptive gradient clipping."""

from fixinit.optimizers.adaptive_clipping import adaptive_clipping
from fixinit.optimizers.clipping_optimizer import AdaptiveClipping
from fixinit.optimizers.grouped import GroupedOptimizer, by_role
from fixinit.optimizers.muon import muon_exclusions
from fixinit.optimizers.rules import Rule
from fixinit.optimizers.scalars import with_scalar_learning_rate
from fixinit.optimizers.schedule import ScaledSchedule

__all__ = [
    "AdaptiveClipping",
    "GroupedOptimizer",
    "Rule",
    "ScaledSchedule",
    "adaptive_clipping",
    "by_role",
    "muon_exclusions",
    "with_scalar_learning_rate",
]
