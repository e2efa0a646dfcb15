"""Keras initializers for residual branches, usable in any Keras layer."""

from fixinit.initializers.corrected import Corrected
from fixinit.initializers.delta_orthogonal import DeltaOrthogonal
from fixinit.initializers.fixup import Fixup
from fixinit.initializers.looks_linear import LooksLinear
from fixinit.initializers.rescaled import Rescaled
from fixinit.initializers.scaled_residual import ScaledResidual, residual_scale
from fixinit.initializers.scaled_uniform_orthogonal import ScaledUniformOrthogonal
from fixinit.initializers.stacked import Stacked

__all__ = [
    "Corrected",
    "DeltaOrthogonal",
    "Fixup",
    "LooksLinear",
    "Rescaled",
    "ScaledResidual",
    "ScaledUniformOrthogonal",
    "Stacked",
    "residual_scale",
]
