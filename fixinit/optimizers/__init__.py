"""Optimizers whose groups of variables have their own rates."""

from fixinit.optimizers.grouped import GroupedOptimizer, by_role
from fixinit.optimizers.rules import Rule
from fixinit.optimizers.scalars import with_scalar_learning_rate
from fixinit.optimizers.schedule import ScaledSchedule

__all__ = [
    "GroupedOptimizer",
    "Rule",
    "ScaledSchedule",
    "by_role",
    "with_scalar_learning_rate",
]
