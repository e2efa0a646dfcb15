"""Models that a layer applies at every step."""

from typing import Any

import keras

from fixinit import _keras, graph
from fixinit.theory.errors import NoRuleError


def wraps_model(operation: Any) -> bool:
    """Whether a layer is `TimeDistributed`, of a model."""
    is_wrapper = isinstance(operation, keras.layers.TimeDistributed)
    return is_wrapper and isinstance(operation.layer, keras.Model)


def step_of(call: graph.Call, training: bool) -> graph.Graph:
    """The graph of the model that a call applies at every step.

    Raises:
        NoRuleError: If the model has no graph or several inputs or outputs, or
            normalizes every step by its own batch.
    """
    model = call.operation.layer
    parts = _keras.flatten_layers(model) if training else ()
    if any(isinstance(part, keras.layers.BatchNormalization) for part in parts):
        raise NoRuleError(
            f"No variance rule for `{call.name}`, which normalizes every step by its "
            "own batch. Predict with training=False."
        )
    try:
        traced = graph.trace(model)
    except TypeError as error:
        raise NoRuleError(
            f"No variance rule for `{call.name}`, whose model `{model.name}` has no "
            "graph. Wrap a functional or Sequential model."
        ) from error
    if len(traced.inputs) == len(traced.outputs) == 1:
        return traced
    raise NoRuleError(
        f"No variance rule for `{call.name}`, which wraps a model of several inputs or "
        f"outputs. Received: {len(traced.inputs)} inputs, {len(traced.outputs)} outputs"
    )
