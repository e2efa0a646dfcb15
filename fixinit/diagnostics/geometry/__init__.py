"""Geometry of a model's function and of its loss: Jacobians, correlations, planes."""

from fixinit.diagnostics.geometry.coordinates import (
    CoordinateCheck,
    coordinate_check,
)
from fixinit.diagnostics.geometry.correlation import (
    GradientCorrelation,
    gradient_correlation,
)
from fixinit.diagnostics.geometry.curvature import LossCurvature, loss_curvature
from fixinit.diagnostics.geometry.jacobian import JacobianSpectrum, jacobian_spectrum
from fixinit.diagnostics.geometry.model_function import ModelFunction
from fixinit.diagnostics.geometry.noise_scale import (
    GradientNoise,
    gradient_noise_scale,
)
from fixinit.diagnostics.geometry.surface import (
    LossSurface,
    filter_normalized_direction,
    loss_surface,
)
from fixinit.diagnostics.geometry.update import (
    FunctionUpdates,
    function_update,
    function_update_by_depth,
)
from fixinit.diagnostics.geometry.weight_function import WeightFunction

__all__ = [
    "CoordinateCheck",
    "FunctionUpdates",
    "GradientCorrelation",
    "GradientNoise",
    "JacobianSpectrum",
    "LossCurvature",
    "LossSurface",
    "ModelFunction",
    "WeightFunction",
    "coordinate_check",
    "filter_normalized_direction",
    "function_update",
    "function_update_by_depth",
    "gradient_correlation",
    "gradient_noise_scale",
    "jacobian_spectrum",
    "loss_curvature",
    "loss_surface",
]
