"""Predicts variances, correlations and gradients of wide networks in closed form."""

from fixinit.theory import (
    calculus,
    rules,  # noqa: F401  (registers the rules)
)
from fixinit.theory.activations import activation
from fixinit.theory.criticality import critical_factor
from fixinit.theory.functions import Function
from fixinit.theory.initial import weight_moments
from fixinit.theory.mean_field import MeanField, critical_scale, edge_of_chaos
from fixinit.theory.moments import Moments
from fixinit.theory.piecewise import PiecewiseLinear
from fixinit.theory.prediction import LayerPrediction, Prediction
from fixinit.theory.propagation import activation_gain, activation_square, propagate
from fixinit.theory.registry import Setting, register
from fixinit.theory.walk import predict

__all__ = [
    "Function",
    "LayerPrediction",
    "MeanField",
    "Moments",
    "PiecewiseLinear",
    "Prediction",
    "Setting",
    "activation",
    "activation_gain",
    "activation_square",
    "calculus",
    "critical_factor",
    "critical_scale",
    "edge_of_chaos",
    "propagate",
    "predict",
    "register",
    "weight_moments",
]
