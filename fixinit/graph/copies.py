"""Copies of layers and operations, also where no config describes them."""

from collections.abc import Iterable
from typing import Any

import keras

from fixinit import _keras
from fixinit.graph.functional import is_own
from fixinit.graph.lambdas import is_lambda
from fixinit.graph.watching import told
from fixinit.layers.configs import remade

_PLAIN = (bool, int, float, str)
# What building and calling change.
_STATE = ("built", "supports_masking", "autocast")


def copied(operation: Any) -> Any:
    """A new layer or operation that does the same, not called yet.

    An operation holds no weights: the copy shares all that it holds. A layer is made
    again from its config, with new weights, or, where that does not describe it, copied
    with the weights that it has.

    Args:
        operation: Keras layer or operation.

    Raises:
        ValueError: If a layer can neither be made again nor copied.
    """
    if not isinstance(operation, keras.layers.Layer):
        return _keras.copied_operation(operation)
    if is_lambda(operation):
        # Its config holds the code of its function, and nothing that this reads.
        return _keras.deep_copied(operation)
    made, error = _remade(operation, ())
    return made if error is None else _deep_copy(operation, error)


def is_described(layer: Any, initializers: Iterable[str] = ()) -> bool:
    """Whether the config of a layer is enough to make it again.

    It is not where it raises, and where numbers or strings that the constructor takes
    come out as others.

    Args:
        layer: Keras layer or operation.
        initializers: The arguments of initializers that take no part in it.
    """
    is_layer = isinstance(layer, keras.layers.Layer)
    return not is_layer or _remade(layer, initializers)[1] is None


def _remade(layer: Any, initializers: Iterable[str]) -> tuple[Any, Exception | None]:
    """`(layer, error)`: the layer made again, and why that is another than before."""
    try:
        made = remade(layer, dict.fromkeys(initializers, "zeros"))
    except Exception as error:  # whatever the config of somebody else's layer raises
        return None, error
    if not _same_numbers(layer, made):
        return None, ValueError("which is incomplete")
    return made, None


def _same_numbers(old: Any, new: Any) -> bool:
    """Whether two layers, of which one is not built, hold the same plain attributes.

    Keras's own configs are complete.
    """
    if not is_own(type(old)):
        return True
    return all(
        value == vars(old).get(name, value)
        for name, value in vars(new).items()
        if isinstance(value, _PLAIN) and name not in _STATE and name[0] != "_"
    )


def _deep_copy(layer: Any, error: Exception) -> Any:
    try:
        return _keras.deep_copied(layer)
    except Exception as second:  # whatever somebody else's layer holds
        raise ValueError(
            f"Layer `{layer.name}` of type {type(layer).__name__} cannot be made again "
            f"from its config ({told(error)}), nor copied "
            f"({told(second)}). Give it a `get_config` with all arguments of "
            "its constructor."
        ) from second
