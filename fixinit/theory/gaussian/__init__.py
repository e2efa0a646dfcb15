"""Expectations of element-wise functions under a Gaussian, and what follows from them.

`functions` integrates smooth functions, `piecewise` has exact expectations of piecewise
linear ones, and `activations` the activation functions of Keras. `mean_field` iterates
one of them over depth, and `edge` finds the weight variance at which it is critical.
"""

from fixinit.theory.gaussian.activations import activation
from fixinit.theory.gaussian.edge import critical_scale, edge_of_chaos
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.mean_field import MeanField
from fixinit.theory.gaussian.piecewise import PiecewiseLinear

__all__ = [
    "Function",
    "MeanField",
    "PiecewiseLinear",
    "activation",
    "critical_scale",
    "edge_of_chaos",
]
