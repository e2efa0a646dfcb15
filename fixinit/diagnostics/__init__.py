"""Measures what happens inside a network."""

from fixinit.diagnostics.blocks import BlockStatistics, block_statistics
from fixinit.diagnostics.gradients import GradientNorms, gradient_norms

__all__ = [
    "BlockStatistics",
    "GradientNorms",
    "block_statistics",
    "gradient_norms",
]
