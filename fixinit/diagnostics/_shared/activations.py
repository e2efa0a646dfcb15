"""Activations: their names, and the range that they keep outputs in."""

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

# Inputs far beyond what kernels as drawn give.
_GRID = np.concatenate([-np.geomspace(100, 1e-3, 400), np.geomspace(1e-3, 100, 400)])


def unwrapped(operation: Any) -> Any:
    """The operation itself, or the layer that wrappers around it hold."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return operation


def snake_case(kind: type) -> str:
    """Name of a class in the way of Keras's functions: `ReduceMean`, `reduce_mean`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def is_softmax(operation: Any) -> bool:
    """Whether an operation or activation function is a softmax."""
    return activation_name(operation) == "softmax"


def activation_name(activation: Any) -> str:
    """Name of an activation, that of Keras's function where there is one."""
    if activation is None:
        return ""
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    if isinstance(activation, keras.Operation):
        return snake_case(type(activation)).replace("re_lu", "relu")
    return getattr(activation, "__name__", type(activation).__name__)


def activation_range(activation: Any) -> tuple[float, float]:
    """Smallest and largest output of an activation, infinite where it has no bound."""
    if activation is None or activation_name(activation) == "linear":
        return -np.inf, np.inf
    if is_softmax(activation):
        return 0.0, 1.0
    try:
        values = _evaluated(activation)
    except Exception:
        # Somebody else's function, which may need other shapes.
        return -np.inf, np.inf
    # Exponentials overflow on the grid, which is no lack of a lower bound.
    if values.shape != _GRID.shape or np.isnan(values).any():
        return -np.inf, np.inf
    low, high = float(values.min()), float(values.max())
    # What still grows at inputs of 100 has no bound there.
    inner = values[np.abs(_GRID) < 50]
    return (
        low if inner.min() - low < 1e-3 else -np.inf,
        high if high - inner.max() < 1e-3 else np.inf,
    )


def is_linear(activation: Any) -> bool:
    """Whether an activation only multiplies by a number, as a `LeakyReLU` of slope 1.

    What holds weights, or acts otherwise in training, is not evaluated.
    """
    if activation is None or getattr(activation, "weights", []):
        return False
    try:
        values = _evaluated(activation)
    except Exception:
        return False
    if values.shape != _GRID.shape or not values[-1]:
        return False
    return bool(np.allclose(values, values[-1] / _GRID[-1] * _GRID, rtol=1e-5))


def _evaluated(activation: Callable) -> np.ndarray:
    grid = ops.convert_to_tensor(_GRID[:, None].astype("float32"))
    # Layers keep the penalties of what they give, outside of such a scope.
    with keras.StatelessScope():
        return ops.convert_to_numpy(activation(grid)).ravel()
