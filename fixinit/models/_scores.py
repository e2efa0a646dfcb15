"""The scores that a network puts out."""

from typing import Any

import keras


def in_float32(
    layer: keras.layers.Layer, activation: Any, name: str
) -> keras.layers.Layer:
    """An activation behind a layer, in float32 where that computes in half precision.

    Losses of half-precision scores are inexact.
    """
    half = layer.compute_dtype in ("float16", "bfloat16")
    return keras.layers.Activation(
        activation, dtype="float32" if half else None, name=name
    )
