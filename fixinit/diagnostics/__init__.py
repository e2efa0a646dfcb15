"""Measures what happens inside a network."""

from fixinit.diagnostics.blocks import BlockStatistics, block_statistics
from fixinit.diagnostics.gradients import GradientNorms, gradient_norms
from fixinit.diagnostics.jacobian import jacobian_spectrum

__all__ = [
    "BlockStatistics",
    "GradientNorms",
    "block_statistics",
    "gradient_norms",
    "jacobian_spectrum",
]
