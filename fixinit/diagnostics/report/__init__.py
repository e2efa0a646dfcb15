"""Reports on a model: activations, gradients and updates by layer and by block."""

from fixinit.diagnostics.report.blocks import (
    BlockMoments,
    BlockStatistics,
    block_statistics,
)
from fixinit.diagnostics.report.columns import Histogram, register_flops
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.finding import Finding, finding_kinds
from fixinit.diagnostics.report.gradients import (
    GradientNorms,
    LossGradientNorms,
    global_norm,
    gradient_norms,
    loss_and_gradients,
)
from fixinit.diagnostics.report.growth import Growth, fit_growth
from fixinit.diagnostics.report.rows import BlockRow, LayerRow

__all__ = [
    "BlockMoments",
    "BlockRow",
    "BlockStatistics",
    "Diagnosis",
    "GradientNorms",
    "Finding",
    "Growth",
    "Histogram",
    "LayerRow",
    "LossGradientNorms",
    "block_statistics",
    "finding_kinds",
    "fit_growth",
    "global_norm",
    "gradient_norms",
    "loss_and_gradients",
    "register_flops",
]
