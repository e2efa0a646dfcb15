"""The classification layers of a model, which adaptive clipping leaves out."""

from typing import Any

import keras

from fixinit import _keras
from fixinit.layers import ResidualBlock, Stack, facts_of
from fixinit.layers.facts import inherited_facts


def find_heads(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers with kernels that give a model's outputs.

    Between a head and an output stands only what may follow one
    (`fixinit.layers.Facts.follows_head`). A model that ends in a normalization, in an
    activation of hidden layers or in residual blocks has no head at that output.

    Args:
        model: Built `keras.Model`.

    Returns:
        List of layers, each once.

    Raises:
        ValueError: If that is not known: the model has no graph, or ends in something
            about which nothing is declared, or in a sum.
    """
    graph = _functional(model)
    if graph is None:
        raise ValueError(
            f"The head of model `{model.name}`, which adaptive clipping leaves out, is "
            "not known: a subclassed model shows no graph of layers. " + _FIX
        )
    found: dict[int, keras.layers.Layer] = {}
    pending, seen = list(graph.outputs), set()
    while pending:
        tensor = pending.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            pending += _before(model, tensor, found)
    return list(found.values())


_FIX = (
    "Pass `head=`, the layer or a list of layers (`head=[]` for a model without a "
    "head), or `clip_head=True`."
)


def _functional(layer: Any) -> Any:
    """The graph of a functional or sequential model, `None` for other layers."""
    if isinstance(layer, keras.Sequential):
        return _keras.functional(layer)
    return layer if _keras.is_functional(layer) else None


def _before(model: keras.Model, tensor: Any, found: dict[int, Any]) -> list[Any]:
    """The tensors in front of one behind which no head has been; adds heads found."""
    operation, call, output = _keras.origin(tensor)
    graph = _functional(operation)
    if graph is not None:
        return [graph.outputs[output]]
    facts = facts_of(operation)
    inputs = _keras.calls_of(operation)[call].input_tensors
    if _ends_without_head(operation, facts):
        return []
    if _has_kernels(operation):
        found[id(operation)] = operation
        return []
    # A sum may be one of heads, or end a residual block.
    is_sum = facts.adds and len(inputs) > 1
    scales = facts.scales_branch or facts.elementwise or facts.multiplies
    passes = facts.follows_head or ((scales or facts.divides) and len(inputs) == 1)
    if passes and not is_sum:
        return list(inputs)
    raise ValueError(
        f"The head of model `{model.name}`, which adaptive clipping leaves out, is not "
        f"known: it ends in `{operation.name}` of {type(operation).__name__}. " + _FIX
    )


def _ends_without_head(operation: Any, facts: Any) -> bool:
    """Whether there is no head in front of an operation that no head is behind."""
    known = (keras.layers.InputLayer, keras.layers.Embedding, ResidualBlock, Stack)
    hidden = facts.activates and not facts.follows_head
    return isinstance(operation, known) or facts.normalizes or hidden


def _has_kernels(operation: Any) -> bool:
    """Whether an operation is a layer with kernels, or one that wraps it."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return bool(inherited_facts(operation).kernels)
