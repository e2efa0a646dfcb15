"""Paths through residual blocks: their gradients, their lesions, effective depth."""

from fixinit.diagnostics.paths.chain_gradient import ChainGradient, backward_only
from fixinit.diagnostics.paths.depth import DepthShares, EffectiveDepth, effective_depth
from fixinit.diagnostics.paths.gradients import (
    PathGradientNorms,
    PathGradients,
    path_gradients,
)
from fixinit.diagnostics.paths.lesions import Lesion, LesionEffects, lesion
from fixinit.diagnostics.paths.totals import PathShares, PathTotals, path_totals

__all__ = [
    "ChainGradient",
    "DepthShares",
    "EffectiveDepth",
    "Lesion",
    "LesionEffects",
    "PathGradientNorms",
    "PathGradients",
    "PathShares",
    "PathTotals",
    "backward_only",
    "effective_depth",
    "lesion",
    "path_gradients",
    "path_totals",
]
