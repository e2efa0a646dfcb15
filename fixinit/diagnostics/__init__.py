"""Measurements of what happens inside a network.

`report` looks at one model by block and by layer, at once or while it trains; `paths`
takes residual networks apart along their branches; `geometry` measures derivatives, and
the loss as a function of the weights.
"""

from fixinit.diagnostics.geometry import (
    FunctionUpdates,
    GradientCorrelation,
    JacobianSpectrum,
    LossSurface,
    function_update,
    function_update_by_depth,
    gradient_correlation,
    jacobian_spectrum,
    loss_surface,
)
from fixinit.diagnostics.paths import (
    EffectiveDepth,
    Lesion,
    PathGradients,
    PathTotals,
    effective_depth,
    lesion,
    path_gradients,
    path_totals,
)
from fixinit.diagnostics.report import (
    BlockStatistics,
    Diagnosis,
    GradientNorms,
    Growth,
    Monitor,
    Verdict,
    block_statistics,
    diagnose,
    fit_growth,
    gradient_norms,
)

__all__ = [
    "BlockStatistics",
    "Diagnosis",
    "EffectiveDepth",
    "FunctionUpdates",
    "GradientCorrelation",
    "GradientNorms",
    "Growth",
    "JacobianSpectrum",
    "Lesion",
    "LossSurface",
    "Monitor",
    "PathGradients",
    "PathTotals",
    "Verdict",
    "block_statistics",
    "diagnose",
    "effective_depth",
    "fit_growth",
    "function_update",
    "function_update_by_depth",
    "gradient_correlation",
    "gradient_norms",
    "jacobian_spectrum",
    "lesion",
    "loss_surface",
    "path_gradients",
    "path_totals",
]
