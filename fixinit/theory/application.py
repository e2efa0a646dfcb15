"""Application of the rule for a layer or an operation to moments."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import tree

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation import (
    apply_elementwise,
    apply_own_layer,
    calls_as_parent,
)
from fixinit.theory.evaluation.arrays import with_arrays
from fixinit.theory.evaluation.score_operations import apply_to_scores
from fixinit.theory.registry import Rule, Setting, find, find_by_key, how_to_register

# Rules of these know where the batch is.
_OF_ANY_BATCH = ("Transpose", "Swapaxes", "Moveaxis", "GetItem", "Unstack")
_ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def apply(operation: Any, setting: Setting, args: tuple, kwargs: dict) -> list[Moments]:
    """Applies the rule for a layer or an operation, or integrates what it computes.

    Args:
        operation: Keras layer or recorded operation of `keras.ops`.
        setting: `fixinit.theory.Setting`.
        args, kwargs: What it is called with, with `Moments` in the place of tensors.

    Returns:
        List of `Moments`, one per output.

    Raises:
        NoRuleError: If there is no rule, or none for this use.
    """
    if getattr(operation, "data_format", None) == "channels_first":
        raise NoRuleError(
            f"Layer `{setting.name}` has data_format='channels_first'. Predictions "
            "need channels as the last axis."
        )
    if type(operation).__name__ not in _OF_ANY_BATCH:
        check_batch(setting.name, tree.flatten((args, kwargs)))
    is_layer = isinstance(operation, keras.layers.Layer)
    rule = find(operation) if is_layer else find_by_key(type(operation).__name__)
    if (
        rule is None
        and isinstance(operation, _ATTENTION)
        and calls_as_parent(operation)
    ):
        rule = find_by_key(keras.layers.MultiHeadAttention)
    y = apply_to_scores(operation, setting, args, kwargs)
    if y is not None:
        return [y]
    if rule is None:
        y = apply_elementwise(operation, setting, args, kwargs)
        if y is None and is_layer:
            y = apply_own_layer(operation, setting, args, kwargs)
        if y is not None:
            return [y]
        raise NoRuleError(
            f"No variance rule for {type(operation).__name__} `{setting.name}`. "
            + how_to_register(operation)
        )
    if is_layer:
        args, kwargs = with_arrays((args, kwargs))
        args, kwargs = _arguments(operation, rule, setting, args, kwargs)
    outputs = tree.flatten(rule(operation, setting, *args, **kwargs))
    if not all(isinstance(y, Moments) for y in outputs):
        raise TypeError(
            f"The rule for {type(operation).__name__} must return a "
            f"fixinit.theory.Moments, or a list of them. Received: {outputs} for "
            f"`{setting.name}`"
        )
    return outputs


def check_batch(name: str, values: Sequence[Any]) -> None:
    """Refuses a call that reads a tensor whose batch is not the first axis."""
    moved = [x for x in values if isinstance(x, Moments) and x.batch]
    if moved:
        raise NoRuleError(
            f"No variance rule for `{name}`, which reads a tensor whose batch has been "
            f"moved to axis {moved[0].batch}."
        )


def _arguments(
    layer: keras.layers.Layer, rule: Rule, setting: Setting, args: tuple, kwargs: dict
) -> tuple[tuple, dict]:
    """The arguments of a layer's call that its rule takes.

    Masks and modes, such as `training`, are left out unless the rule names them. Other
    tensors are never left out.
    """
    if not args:
        first = next(iter(inspect.signature(layer.call).parameters))
        kwargs = dict(kwargs)
        args = (kwargs.pop(first),)
    parameters = inspect.signature(rule).parameters
    _check_count(layer, parameters, setting, args)
    if not kwargs:
        return args, {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return args, kwargs
    for name, value in kwargs.items():
        tensors = [x for x in tree.flatten(value) if isinstance(x, Moments)]
        if tensors and name not in parameters and name != "mask":
            raise NoRuleError(
                f"The rule for {type(layer).__name__} `{setting.name}` takes no "
                f"argument `{name}`, with which the layer is called. Register a rule "
                f"`(layer, setting, x, {name}=None) -> Moments`."
            )
    return args, {k: v for k, v in kwargs.items() if k in parameters}


def _check_count(
    layer: keras.layers.Layer, parameters: Any, setting: Setting, args: tuple
) -> None:
    """Refuses a call with more positional tensors than the rule takes."""
    kinds = [p.kind for p in parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return
    # Behind the layer and the setting.
    taken = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds) - 2
    if len(args) > taken:
        raise NoRuleError(
            f"The rule for {type(layer).__name__} `{setting.name}` takes {taken} of "
            f"the {len(args)} inputs with which the layer is called. Register a rule "
            "`(layer, setting, x, y, ...) -> Moments`."
        )
