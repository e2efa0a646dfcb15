"""Optimizers that treat the scalars of normalization-free networks apart."""

from fixinit.optimizers.scalars import ScaledSchedule, with_scalar_learning_rate

__all__ = ["ScaledSchedule", "with_scalar_learning_rate"]
