"""Tells which layers of a model are to be opened."""

from collections.abc import Callable, Iterator
from typing import Any

import keras

from fixinit import _keras
from fixinit.graph.functional import functional_of, is_own
from fixinit.graph.lambdas import is_lambda, may_become_operations
from fixinit.graph.recognition import normalizes
from fixinit.layers.facts import Facts, facts_of, inherited_facts

# Subclasses of these are one weight layer each, as these are.
_ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def opens(layer: Any) -> bool:
    """Whether a layer is one to open: of one's own, and around layers that matter.

    A Lambda is known by what it computes: see `may_become_operations`.
    """
    if not isinstance(layer, keras.layers.Layer) or functional_of(layer) is not None:
        return False
    if is_lambda(layer):
        return may_become_operations(layer)
    if isinstance(layer, keras.layers.TimeDistributed):
        if is_lambda(layer.layer):
            return may_become_operations(layer.layer)
        return functional_of(layer.layer) is not None and _matters(layer.layer)
    declared = facts_of(layer) != Facts() or inherited_facts(layer) != Facts()
    if isinstance(layer, _ATTENTION) and not holds_normalization(layer):
        return False
    return is_own(type(layer)) and not declared and _matters(layer)


def holds_normalization(layer: Any) -> bool:
    """Whether a layer holds one that normalizes, of Keras's or the author's own."""
    inside = _keras.flatten_layers(layer, include_self=False)
    return any(
        facts_of(x).normalizes or ((is_own(type(x)) or is_lambda(x)) and normalizes(x))
        for x in inside
    )


def _matters(layer: Any) -> bool:
    """Whether a layer holds one that normalizes or multiplies by a kernel."""
    inside = _keras.flatten_layers(layer, include_self=False)
    return any(
        facts_of(x).normalizes
        or facts_of(x).kernels
        or isinstance(x, keras.layers.Embedding)
        for x in inside
    )


def is_own_layer(layer: Any) -> bool:
    """Whether a layer is of one's own, whatever it holds."""
    if not isinstance(layer, keras.layers.Layer):
        return False
    if is_lambda(layer):
        return may_become_operations(layer)
    return is_own(type(layer)) and functional_of(layer) is None


def closed(functional: Any, opened: Callable[[Any], bool]) -> Iterator[Any]:
    """Yields the layers to open of a functional model, and of models inside it.

    Args:
        functional: Functional `keras.Model`.
        opened: Function from a layer to whether it is to be opened.
    """
    for node in _keras.calls(functional):
        inner = functional_of(node.operation)
        if inner is not None:
            yield from closed(inner, opened)
        elif opened(node.operation):
            yield node.operation
