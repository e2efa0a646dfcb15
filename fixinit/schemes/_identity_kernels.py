"""Constant kernels for weight layers of every kind."""

from typing import Any

import keras

from fixinit import initializers
from fixinit.initializers.constant_kernel import ConstantKernel
from fixinit.layers import ProjectionShortcut, facts_of
from fixinit.layers.configs import remade

_PLAIN = (
    ProjectionShortcut,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def with_fitting_kernel(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A weight layer whose constant kernel fits its groups of channels.

    Kernels of other kinds of layers, as of separable and transposed convolutions and
    `EinsumDense`, have other layouts: they are drawn by He initialization.

    Args:
        layer: Keras layer, not built, with its initializers set.

    Returns:
        `layer` itself, or the same with another initializer.
    """
    kernels = facts_of(layer).kernels
    initializer = getattr(layer, kernels[-1], None) if kernels else None
    constant, gain = _constant(initializer)
    groups = getattr(layer, "groups", 1)
    plain = isinstance(layer, _PLAIN)
    if constant is None or (plain and groups == 1):
        return layer
    new: Any = keras.initializers.HeNormal()
    if plain:
        new = _with(constant, groups=groups)
    elif isinstance(layer, _DEPTHWISE):
        new = _with(constant, depthwise=True)
    if gain != 1:
        new = initializers.Rescaled(new, gain)
    return remade(layer, {kernels[-1]: new})


def _constant(initializer: Any) -> tuple[Any, float]:
    """`(initializer, gain)` of a constant kernel, `(None, 1)` of any other."""
    if isinstance(initializer, initializers.Rescaled):
        inner, gain = _constant(initializer.initializer)
        return inner, gain * initializer.gain
    is_constant = isinstance(initializer, ConstantKernel)
    return (initializer if is_constant else None), 1.0


def _with(initializer: Any, **changes: Any) -> Any:
    return type(initializer).from_config({**initializer.get_config(), **changes})
