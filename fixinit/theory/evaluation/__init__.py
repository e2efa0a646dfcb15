"""Element-wise functions that no rule covers, by the values that their code gives."""

from fixinit.theory.evaluation.own_layers import apply_own_layer, calls_as_parent
from fixinit.theory.evaluation.without_rules import apply_activation, apply_elementwise

__all__ = [
    "apply_activation",
    "apply_elementwise",
    "apply_own_layer",
    "calls_as_parent",
]
