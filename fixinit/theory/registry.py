"""The registry of rules: from layers, operations and initializers to functions."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from fixinit._checked import check_fields
from fixinit._validation import check_size, check_variance

# Takes what `register` says for its target, and returns it.
Rule: TypeAlias = Callable[..., Any]
_Rule = TypeVar("_Rule", bound=Rule)

_RULES: dict[Any, Rule] = {}
# What was found for a class, until the next registration.
_FOUND: dict[type, Rule | None] = {}


@dataclasses.dataclass(frozen=True)
class Setting:
    """The circumstances of a call that its rule may need.

    Example:

    >>> setting = fixinit.theory.Setting("conv", True, None, (8, 8, 3))
    >>> setting.training
    True

    Attributes:
        name: String. The call's name in the model.
        training: bool. Whether the layer runs in training mode.
        batch_size: int, `None` for a very large batch.
        output_shape: Tuple of ints, without the batch; of a call with several outputs,
            a tuple of such tuples.
        kernel_factor: float. Multiplies the variances of kernels; 1 by default.
    """

    name: str
    training: bool
    batch_size: int | None
    output_shape: tuple[Any, ...]
    kernel_factor: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size is not None:
            check_size("batch_size", self.batch_size)
        check_variance("kernel_factor", self.kernel_factor)


def register(*targets: Any) -> Callable[[_Rule], _Rule]:
    """Registers a rule for classes, functions or operations, as a decorator.

    The arguments of a rule depend on its target:

    * a layer class: `rule(layer, setting, x)`, called as the layer is, with
      `fixinit.theory.Moments` in the place of tensors; returns `Moments`, and for a
      layer with several outputs the structure of them that the layer returns. A layer
      that merges gets a list. Tensors given by keyword, such as `value=`, and modes,
      such as `use_causal_mask=`, come by keyword if the rule names them. `setting` is a
      `fixinit.theory.Setting`.
    * the name of an operation of `keras.ops`, such as `"Add"`, the class that Keras
      records: `rule(operation, setting, *args, **kwargs)`, likewise
    * an initializer class: `rule(initializer, shape)`; returns the mean and the
      variance of one weight
    * a function that layers take as `activation`: `rule(function)`; returns a
      `fixinit.theory.Function`

    Rules are made of the functions in `fixinit.theory.calculus`, which know their
    gradients. A rule that does not cover a use of its target raises
    `fixinit.theory.NoRuleError`; all other exceptions are mistakes, and are not caught.

    Example:

    >>> class Doubled(keras.layers.Layer):
    ...     def call(self, x):
    ...         return 2 * x
    >>> @fixinit.theory.register(Doubled)
    ... def doubled(layer, setting, x):
    ...     return fixinit.theory.calculus.scale(x, 2.0)
    >>> model = keras.Sequential([keras.Input((8,)), Doubled(name="double")])
    >>> fixinit.theory.predict(model)["double"].variance
    4.0

    A layer with two outputs, and an argument given by keyword:

    >>> class Swap(keras.layers.Layer):
    ...     def call(self, x, other=None):
    ...         return other, x
    >>> @fixinit.theory.register(Swap)
    ... def swap(layer, setting, x, other=None):
    ...     return other, x

    Args:
        *targets: Classes, functions, or names of operations. Of several rules for one
            target, the last one counts.

    Returns:
        Decorator that returns the rule as it is.
    """

    def decorate(rule: _Rule) -> _Rule:
        _FOUND.clear()
        for target in targets:
            _RULES[target] = rule
        return rule

    return decorate


def find(thing: Any) -> Rule | None:
    """The rule for an object, `None` without one: of its class, or of a base class.

    A subclass with a `call` (or, for initializers, a `__call__`) of its own does
    something else, and needs a rule of its own.
    """
    kind = type(thing)
    if kind not in _FOUND:
        _FOUND[kind] = _find(kind)
    return _FOUND[kind]


def _find(kind: type) -> Rule | None:
    for base in kind.__mro__:
        if base in _RULES:
            same = all(
                getattr(kind, name, None) is getattr(base, name, None)
                for name in ("call", "__call__")
            )
            return _RULES[base] if same else None
    return None


def find_by_key(key: Any) -> Rule | None:
    """The rule that was registered for a name or a function, `None` without one."""
    try:
        return _RULES.get(key)
    except TypeError:
        return None


def how_to_register(operation: Any) -> str:
    """The end of an error about a layer or an operation without a rule."""
    kind, takes = type(operation).__name__, "layer, setting, x"
    target = kind
    # Operations hold no weights, and are registered by name.
    if not hasattr(operation, "add_weight"):
        target, takes = repr(kind), "operation, setting, *args, **kwargs"
    return (
        f"Register a rule: `@fixinit.theory.register({target})` on a function "
        f"`({takes}) -> Moments`, see `help(fixinit.theory.register)`."
    )
