"""The registry of rules for FLOPs: from layers and operations to functions."""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import keras

from fixinit.layers import facts_of

_Rule = TypeVar("_Rule", bound=Callable[..., float])
_RULES: dict[Any, Callable[..., float]] = {}
# Facts of what multiplies with no matrix.
_FREE = (
    *("adds", "joins", "multiplies", "divides", "passes", "pads", "rearranges"),
    *("normalizes", "measures", "activates", "scales_branch", "elementwise"),
    "constant",
)


def register_flops(*targets: Any) -> Callable[[_Rule], _Rule]:
    """Registers a rule for the FLOPs of layers or operations, as a decorator.

    A FLOP is one addition or one multiplication in a product of matrices, so that a
    multiply-add counts two:

        Dense, from n to m units:  2 n m
        Conv, from n to m channels:  2 n m prod(kernel_size) prod(output_space) / groups

    Biases, activations, normalizations, poolings and everything else element by element
    count nothing, as in the tables of papers (which count multiply-adds: half as many).

    Example:

    >>> class Bilinear(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.matrix = self.add_weight(shape=(shape[-1], shape[-1]))
    ...     def call(self, x):
    ...         return keras.ops.sum((x @ self.matrix) * x, axis=-1, keepdims=True)
    >>> @fixinit.diagnostics.register_flops(Bilinear)
    ... def bilinear(layer, outputs, x):
    ...     batch, units = x.shape
    ...     return 2 * batch * units**2
    >>> model = keras.Sequential([keras.Input((8,)), Bilinear()])
    >>> found = fixinit.diagnostics.diagnose(
    ...     model, np.ones((4, 8), "float32"), measures=("flops",)
    ... )
    >>> found.layers[-1]["flops"]
    128.0

    Args:
        *targets: Classes of layers, or names of the classes that Keras records for
            `keras.ops`, such as `"Matmul"`. Rules hold for subclasses with the same
            `call`. Of several for one target, the last one counts.

    Returns:
        Decorator of `rule(layer, outputs, *args, **kwargs) -> float`. The arguments are
        those of the call, with `keras.KerasTensor`s in the place of tensors, the batch
        included; keywords come if the rule names them. `outputs` is the output, or the
        list of several. What the rule returns is for the whole batch, NaN if unknown.
    """

    def decorate(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(targets, rule))
        return rule

    return decorate


def flops_of(operation: Any, outputs: Any, args: Any, kwargs: Any) -> float:
    """FLOPs of a call, NaN where no rule and no fact tells; arguments as of a rule."""
    rule = _find(operation)
    if rule is None:
        return 0.0 if _is_free(operation) else math.nan
    parameters = inspect.signature(rule).parameters
    kwargs = {name: value for name, value in kwargs.items() if name in parameters}
    return float(rule(operation, outputs, *args, **kwargs))


def _find(operation: Any) -> Callable[..., float] | None:
    kind = type(operation)
    for base in kind.__mro__:
        if base in _RULES:
            same = getattr(kind, "call", None) is getattr(base, "call", None)
            return _RULES[base] if same else None
    is_layer = isinstance(operation, keras.layers.Layer)
    return None if is_layer else _RULES.get(kind.__name__)


def _is_free(operation: Any) -> bool:
    facts = facts_of(operation)
    if any(getattr(facts, name) for name in _FREE):
        return True
    return facts.linear and not getattr(operation, "weights", ())
