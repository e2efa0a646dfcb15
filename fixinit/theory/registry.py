"""Which rule says what a layer, an operation or an initializer does to moments."""

import dataclasses

_RULES = {}
_FOUND = {}  # what was found for a class, until the next registration


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a rule may need to know beside the layer and its inputs.

    Example:

    >>> setting = fixinit.theory.Setting("conv", True, None, (8, 8, 3))
    >>> setting.training
    True

    Attributes:
        name: String. The call's name in the model.
        training: bool. Whether the layer runs in training mode.
        batch_size: int, `None` for a very large batch.
        output_shape: Tuple of ints, without the batch.
        kernel_factor: float. What variances of kernels are multiplied by.
    """

    name: str
    training: bool
    batch_size: int | None
    output_shape: tuple
    kernel_factor: float = 1.0


def register(*targets):
    """Decorator: the function is the rule for the given classes.

    What a rule takes depends on what it is for:

    * a layer class: `rule(layer, setting, x)`, called as the layer is, with
      `fixinit.theory.Moments` in the place of tensors; returns `Moments`. A layer that
      merges gets a list of them. `setting` is a `fixinit.theory.Setting`.
    * the name of an operation of `keras.ops`, such as `"Add"`, the class that Keras
      records: `rule(operation, setting, *args, **kwargs)`, likewise
    * an initializer class: `rule(initializer, shape)`; returns the mean and the
      variance of one weight
    * a function that layers take as `activation`: `rule(function)`; returns a
      `fixinit.theory.Function`

    Rules are made of the functions in `fixinit.theory.calculus`, which know their
    gradients.

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

    Args:
        *targets: Classes, functions, or names of operations.
    """

    def decorate(rule):
        _FOUND.clear()
        for target in targets:
            _RULES[target] = rule
        return rule

    return decorate


def find(thing):
    """The rule for an object: that of its class, or of one that it inherits from.

    A subclass with a `call` (or, for initializers, a `__call__`) of its own does
    something else, and needs a rule of its own.
    """
    kind = type(thing)
    if kind not in _FOUND:
        _FOUND[kind] = _find(kind)
    return _FOUND[kind]


def _find(kind):
    for base in kind.__mro__:
        if base in _RULES:
            same = all(
                getattr(kind, name, None) is getattr(base, name, None)
                for name in ("call", "__call__")
            )
            return _RULES[base] if same else None
    return None


def find_by_key(key):
    """The rule that was registered for a name or a function."""
    try:
        return _RULES.get(key)
    except TypeError:
        return None


def how_to_register(operation):
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
