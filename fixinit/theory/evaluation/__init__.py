"""Element-wise functions that no rule covers, by the values that their code gives."""

from fixinit.theory.evaluation.without_rules import apply_activation, apply_elementwise

__all__ = ["apply_activation", "apply_elementwise"]
