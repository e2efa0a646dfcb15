"""The plain Keras layers that a scheme may put others in the place of."""

import re
from typing import Any

import keras
import numpy as np

from fixinit.graph.recognition import centers
from fixinit.layers import (
    PointwiseNormalization,
    facts_of,
    gelu_tanh,
    plain_layer,
)
from fixinit.layers.configs import remade

# Those whose arguments are known; others are taken for what they amount to.
KNOWN = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
    PointwiseNormalization,
)


def plain_activation(call: Any) -> keras.layers.Layer | None:
    """The activation layer that a call of an activation is or amounts to.

    Args:
        call: `fixinit.graph.Call`.

    Returns:
        The layer; for a function of `keras.ops` a `keras.layers.Activation`, and
        `None` if no activation of that name computes the same.
    """
    operation = call.operation
    if isinstance(operation, keras.layers.Layer):
        return plain_layer(operation)
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()
    # `ops.gelu` approximates by default, and the activation does not.
    for activation in (name, *([gelu_tanh] if name == "gelu" else ())):
        try:
            layer = keras.layers.Activation(activation, name=operation.name)
        except ValueError:
            return None
        if _computes_the_same(operation, layer):
            return layer
    return None


def _computes_the_same(operation: Any, layer: keras.layers.Layer) -> bool:
    x = np.linspace(-4, 4, 33, dtype="float32")[None]
    given, made = (
        keras.ops.convert_to_numpy(f(keras.ops.convert_to_tensor(x)))
        for f in (operation.call, layer)
    )
    return np.allclose(given, made, atol=1e-6)


def plain_normalization(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The normalization layer that a layer is, applies along time or amounts to."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return _along_time(plain_normalization(layer.layer))
    if facts_of(layer).normalizes and isinstance(layer, KNOWN):
        return layer
    kind = keras.layers.LayerNormalization
    if not centers(layer):
        kind = keras.layers.RMSNormalization
    return kind(name=layer.name, dtype=layer.dtype_policy)


def _along_time(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The same normalization for inputs with an axis of time behind that of batches."""
    if not hasattr(layer, "axis"):
        return layer
    is_list = isinstance(layer.axis, (list, tuple))
    axes = list(layer.axis) if is_list else [layer.axis]
    axes = [axis + 1 if axis > 0 else axis for axis in axes]
    return remade(layer, {"axis": axes if is_list else axes[0]})
