"""Measures what happens inside a network."""

from fixinit.diagnostics.blocks import BlockStatistics, block_statistics
from fixinit.diagnostics.correlation import gradient_correlation
from fixinit.diagnostics.diagnose import diagnose
from fixinit.diagnostics.diagnosis import Diagnosis
from fixinit.diagnostics.gradients import GradientNorms, gradient_norms
from fixinit.diagnostics.growth import Growth, fit_growth
from fixinit.diagnostics.jacobian import jacobian_spectrum
from fixinit.diagnostics.monitor import Monitor
from fixinit.diagnostics.surface import loss_surface
from fixinit.diagnostics.update import function_update, function_update_by_depth
from fixinit.diagnostics.verdict import Verdict

__all__ = [
    "BlockStatistics",
    "Diagnosis",
    "GradientNorms",
    "Growth",
    "Monitor",
    "Verdict",
    "block_statistics",
    "diagnose",
    "fit_growth",
    "function_update",
    "function_update_by_depth",
    "gradient_correlation",
    "gradient_norms",
    "jacobian_spectrum",
    "loss_surface",
]
