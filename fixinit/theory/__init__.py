"""Variances, correlations and gradients of wide random networks, in closed form.

`gaussian` has expectations of activation functions under a Gaussian, `calculus` the
operations on the moments of a tensor, and `rules` what each layer does to them.
`propagate` sends moments through a model, `predict` reports them by layer, and
`tailored` makes activations to measure.
"""

from fixinit.theory import (
    calculus,
    rules,  # noqa: F401  (registers the rules)
)
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.criticality import critical_factor
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gain import activation_gain, activation_square, variance_gain
from fixinit.theory.gaussian import (
    Function,
    MeanField,
    PiecewiseLinear,
    activation,
    critical_scale,
    edge_of_chaos,
)
from fixinit.theory.prediction import LayerPrediction, Prediction, predict
from fixinit.theory.propagation import propagate
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.initializers import fans, weight_moments
from fixinit.theory.tailoring import tailored

__all__ = [
    "Function",
    "LayerPrediction",
    "MeanField",
    "Moments",
    "NoRuleError",
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
    "fans",
    "predict",
    "propagate",
    "register",
    "tailored",
    "variance_gain",
    "weight_moments",
]
