"""Paths through residual blocks: their gradients, their lesions, effective depth."""

from fixinit.diagnostics.paths.chain_gradient import ChainGradient, backward_only
from fixinit.diagnostics.paths.depth import EffectiveDepth, effective_depth
from fixinit.diagnostics.paths.gradients import PathGradients, path_gradients
from fixinit.diagnostics.paths.lesions import Lesion, lesion
from fixinit.diagnostics.paths.totals import PathTotals, path_totals

__all__ = [
    "ChainGradient",
    "EffectiveDepth",
    "Lesion",
    "PathGradients",
    "PathTotals",
    "backward_only",
    "effective_depth",
    "lesion",
    "path_gradients",
    "path_totals",
]
