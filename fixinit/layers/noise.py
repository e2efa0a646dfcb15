"""Random factors for residual branches, and their own ones for the gradient."""

from collections.abc import Callable
from typing import Any

from keras import ops, random

from fixinit._typing import Tensor

# What has a factor of its own, and the axes that it is drawn along.
LEVELS: dict[str, Callable[[Any], list[Any]]] = {
    "batch": lambda shape: [1] * len(shape),
    "sample": lambda shape: [shape[0]] + [1] * (len(shape) - 1),
    "channel": lambda shape: [shape[0]] + [1] * (len(shape) - 2) + [shape[-1]],
    "element": list,
}


def uniform(
    inputs: Tensor, level: str, seed: Any, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Factors in `[low, high)` that broadcast to `inputs`, one for each `level`.

    In float32 at least: draws in half precision can be rounded to `high`.
    """
    dtype = "float64" if "float64" in str(inputs.dtype) else "float32"
    draws = random.uniform(LEVELS[level](ops.shape(inputs)), dtype=dtype, seed=seed)
    return low + (high - low) * draws


def with_gradient_of(values: Tensor, other: Tensor) -> Tensor:
    """`values` in the forward pass, bit for bit; the gradient of `other` backwards."""
    return ops.stop_gradient(values) + (other - ops.stop_gradient(other))
