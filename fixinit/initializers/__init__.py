"""Keras initializers for residual branches, usable in any Keras layer."""

from fixinit.initializers.fixup import Fixup
from fixinit.initializers.scaled_residual import ScaledResidual, residual_scale
from fixinit.initializers.stacked import Stacked

__all__ = ["Fixup", "ScaledResidual", "Stacked", "residual_scale"]
