"""Arrays of foreign parameters."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def arrays_of(state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The NumPy arrays of a PyTorch state dict, by name.

    Raises:
        TypeError: If it is no dict.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "Argument `state_dict` must be a dict from parameter names to arrays, such "
            f"as PyTorch's `module.state_dict()`. Received: {type(state_dict).__name__}"
        )
    return {str(name): _array(value) for name, value in state_dict.items()}


def checked_shape(
    arrays: Mapping[str, np.ndarray], name: str, rank: int
) -> tuple[int, ...]:
    """The shape of an array that tells sizes of the network.

    Raises:
        ValueError: If it has another number of axes.
    """
    shape = arrays[name].shape
    if len(shape) != rank:
        raise ValueError(
            f"Argument `state_dict` has a `{name}` of another shape. Expected: {rank} "
            f"axes. Received: {shape}"
        )
    return shape


def _array(value: Any) -> np.ndarray:
    # Tensors may need gradients or lie on another device.
    for method in ("detach", "cpu", "float", "numpy"):
        if not isinstance(value, np.ndarray) and hasattr(value, method):
            value = getattr(value, method)()
    return np.asarray(value)
