"""Measures what happens inside a network."""

from fixinit.diagnostics.blocks import BlockStatistics, block_statistics
from fixinit.diagnostics.correlation import gradient_correlation
from fixinit.diagnostics.gradients import GradientNorms, gradient_norms
from fixinit.diagnostics.jacobian import jacobian_spectrum
from fixinit.diagnostics.surface import loss_surface
from fixinit.diagnostics.update import function_update, function_update_by_depth

__all__ = [
    "BlockStatistics",
    "GradientNorms",
    "block_statistics",
    "function_update",
    "function_update_by_depth",
    "gradient_correlation",
    "gradient_norms",
    "jacobian_spectrum",
    "loss_surface",
]
