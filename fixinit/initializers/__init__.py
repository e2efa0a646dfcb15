"""Keras initializers for residual branches, usable in any Keras layer."""

from fixinit.initializers.corrected import Corrected
from fixinit.initializers.delta_orthogonal import DeltaOrthogonal
from fixinit.initializers.fixup import Fixup
from fixinit.initializers.idinit import IDInit
from fixinit.initializers.looks_linear import LooksLinear
from fixinit.initializers.rescaled import Rescaled
from fixinit.initializers.scaled_residual import ScaledResidual, residual_scale
from fixinit.initializers.scaled_uniform_orthogonal import ScaledUniformOrthogonal
from fixinit.initializers.sine_positions import SinePositions
from fixinit.initializers.stacked import Stacked
from fixinit.initializers.zero import ZerO

__all__ = [
    "Corrected",
    "DeltaOrthogonal",
    "Fixup",
    "IDInit",
    "LooksLinear",
    "Rescaled",
    "ScaledResidual",
    "ScaledUniformOrthogonal",
    "SinePositions",
    "Stacked",
    "ZerO",
    "residual_scale",
]
