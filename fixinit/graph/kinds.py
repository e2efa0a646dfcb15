"""What a call does, by the facts that its layer or operation declares."""

from typing import Any

import keras

from fixinit._checked import checked
from fixinit.graph.calls import Call
from fixinit.graph.functional import is_own
from fixinit.graph.lambdas import is_lambda
from fixinit.layers import Facts, facts_of


@checked
def is_addition(call: Call) -> bool:
    """Whether a call adds two or more values.

    Example:

    >>> x = keras.Input((8,))
    >>> graph = fixinit.graph.trace(keras.Model(x, keras.ops.relu(x) + x))
    >>> [fixinit.graph.is_addition(call) for call in graph.calls]
    [False, False, True]

    Args:
        call: `fixinit.graph.Call`.

    Returns:
        bool. `True` for what declares that it adds (`fixinit.layers.Facts`) and for
        the merge of a `fixinit.layers.ResidualBlock`, `False` where a call reads one
        value, also if it adds that to a constant or to itself.
    """
    is_merge = call.owner is not None and call.operation is call.owner.merge
    # Of what it reads twice, it adds two.
    reads = len(call.inputs) if call.node is None else len(call.node.input_tensors)
    adds = facts_of(call.operation).adds or is_merge
    return adds and reads == len(call.inputs) > 1


@checked
def is_activation(call: Call) -> bool:
    """Whether a call is that of an activation and nothing else.

    Example:

    >>> x = keras.Input((8,))
    >>> y = keras.layers.Dense(8, "relu")(keras.layers.ReLU()(x))
    >>> graph = fixinit.graph.trace(keras.Model(x, y))
    >>> [fixinit.graph.is_activation(call) for call in graph.calls]
    [False, True, False]

    Args:
        call: `fixinit.graph.Call`.

    Returns:
        bool. `True` for what declares that it activates: see `fixinit.layers.Facts`.
    """
    return len(call.inputs) == 1 and facts_of(call.operation).activates


def is_unknown(operation: Any) -> bool:
    """Whether nothing is declared about a layer of the user's own."""
    if isinstance(operation, keras.layers.TimeDistributed):
        if is_lambda(operation.layer):
            operation = operation.layer
    if not isinstance(operation, keras.layers.Layer):
        return False
    is_own_kind = is_own(type(operation)) or is_lambda(operation)
    return is_own_kind and facts_of(operation) == Facts()


def output_facts(operation: Any) -> Facts:
    """The facts of the activation that an operation holds, otherwise its own."""
    held = getattr(operation, "activation", None)
    return facts_of(operation if held is None else held)
