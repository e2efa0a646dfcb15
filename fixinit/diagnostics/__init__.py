"""Measurements of what happens inside a network.

`doctor` judges a training program, before and while it trains, by what `report`
measures of its model by block and by layer; `paths` takes residual networks apart along
their branches; `geometry` measures derivatives, and the loss as a function of the
weights.
"""

from fixinit.diagnostics.doctor import Alarm, Monitor, check, diagnose
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
    DepthShares,
    EffectiveDepth,
    Lesion,
    LesionEffects,
    PathGradientNorms,
    PathGradients,
    PathShares,
    PathTotals,
    effective_depth,
    lesion,
    path_gradients,
    path_totals,
)
from fixinit.diagnostics.report import (
    BlockMoments,
    BlockRow,
    BlockStatistics,
    Diagnosis,
    Finding,
    GradientNorms,
    Growth,
    Histogram,
    LayerRow,
    LossGradientNorms,
    block_statistics,
    finding_kinds,
    fit_growth,
    gradient_norms,
    register_flops,
)

__all__ = [
    "Alarm",
    "BlockMoments",
    "BlockRow",
    "BlockStatistics",
    "DepthShares",
    "Diagnosis",
    "EffectiveDepth",
    "Finding",
    "FunctionUpdates",
    "GradientCorrelation",
    "GradientNorms",
    "Growth",
    "Histogram",
    "JacobianSpectrum",
    "LayerRow",
    "Lesion",
    "LesionEffects",
    "LossGradientNorms",
    "LossSurface",
    "Monitor",
    "PathGradientNorms",
    "PathGradients",
    "PathShares",
    "PathTotals",
    "block_statistics",
    "check",
    "diagnose",
    "effective_depth",
    "finding_kinds",
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
    "register_flops",
]
