"""Measures what happens inside a network."""

from fixinit.diagnostics.blocks import BlockStatistics, block_statistics
from fixinit.diagnostics.correlation import gradient_correlation
from fixinit.diagnostics.depth import EffectiveDepth, effective_depth
from fixinit.diagnostics.diagnose import diagnose
from fixinit.diagnostics.diagnosis import Diagnosis
from fixinit.diagnostics.gradients import GradientNorms, gradient_norms
from fixinit.diagnostics.growth import Growth, fit_growth
from fixinit.diagnostics.jacobian import jacobian_spectrum
from fixinit.diagnostics.lesions import Lesion, lesion
from fixinit.diagnostics.monitor import Monitor
from fixinit.diagnostics.paths import PathGradients, path_gradients
from fixinit.diagnostics.surface import loss_surface
from fixinit.diagnostics.totals import PathTotals, path_totals
from fixinit.diagnostics.update import function_update, function_update_by_depth
from fixinit.diagnostics.verdict import Verdict

__all__ = [
    "BlockStatistics",
    "Diagnosis",
    "EffectiveDepth",
    "GradientNorms",
    "Growth",
    "Lesion",
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
