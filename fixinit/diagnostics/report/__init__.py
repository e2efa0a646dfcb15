"""Reports on a model: activations, gradients and updates by block, and a verdict."""

from fixinit.diagnostics.report.alarm import Alarm
from fixinit.diagnostics.report.blocks import (
    BlockMoments,
    BlockStatistics,
    block_statistics,
)
from fixinit.diagnostics.report.diagnose import diagnose
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.gradients import (
    GradientNorms,
    LossGradientNorms,
    global_norm,
    gradient_norms,
    loss_and_gradients,
)
from fixinit.diagnostics.report.growth import Growth, fit_growth
from fixinit.diagnostics.report.monitor import Monitor
from fixinit.diagnostics.report.rows import BlockRow, LayerRow
from fixinit.diagnostics.report.verdict import Verdict

__all__ = [
    "Alarm",
    "BlockMoments",
    "BlockRow",
    "BlockStatistics",
    "Diagnosis",
    "GradientNorms",
    "Growth",
    "LayerRow",
    "LossGradientNorms",
    "Monitor",
    "Verdict",
    "block_statistics",
    "diagnose",
    "fit_growth",
    "global_norm",
    "gradient_norms",
    "loss_and_gradients",
]
