"""Clips gradients unit by unit, relative to the norms of weights."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor

# Entries of the largest gradients that are stacked with others of their shape. It saves
# operations, of which a network of a hundred layers would have thousands, and copies.
LARGEST_FUSED = 2**16
# By which norms of zeros are divided.
_SMALLEST = 1e-30


def clip_units(
    gradients: Sequence[Tensor],
    variables: Sequence[keras.Variable],
    units: Sequence[tuple[int, ...] | None],
    factor: float,
    epsilon: float,
) -> list[Tensor]:
    """Gradients of variables, with no unit longer than its weights allow.

        g_u <- g_u * min(1, factor * max(|w_u|, epsilon) / |g_u|)

    A unit that is short enough keeps every bit. One that is infinite or NaN shows it.

    Args:
        gradients: List of tensors; sparse ones become dense.
        variables: List of variables.
        units: List of tuples of ints of at least 0, the axes that count the units of
            each variable, or `None` for gradients that stay as they are.
        factor: float, above 0.
        epsilon: float, above 0.
    """
    result = list(gradients)
    for indices in _fusible(gradients, variables, units):
        axes = units[indices[0]] or ()
        these = [backend.dense(gradients[i]) for i in indices]
        weights = [ops.stop_gradient(variables[i].value) for i in indices]
        if len(indices) == 1:
            alone = these[0], weights[0]
            result[indices[0]] = clipped(*alone, axes, factor, epsilon)
            continue
        axes = (0, *(axis + 1 for axis in axes))
        stacked = ops.stack(these), ops.stack(weights)
        parts = ops.unstack(clipped(*stacked, axes, factor, epsilon), len(indices))
        for index, part in zip(indices, parts, strict=True):
            result[index] = part
    return result


def clipped(
    gradient: Tensor,
    weight: Tensor,
    units: tuple[int, ...],
    factor: float,
    epsilon: float,
) -> Tensor:
    """The clipped gradient of one weight: see `clip_units`."""
    within = tuple(axis for axis in range(len(weight.shape)) if axis not in units)
    longest = factor * ops.maximum(_norm(weight, within), epsilon)
    # Divided by itself where it is short enough, which is exactly 1.
    shrunk = longest / ops.maximum(_norm(gradient, within), longest)
    return gradient * ops.cast(shrunk, gradient.dtype)


def _norm(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The Euclidean norm over some axes, which are kept, in float32 or better.

    Squares overflow from 2e19 on, which gradients without normalization reach.
    """
    x = ops.abs(x)
    if keras.backend.standardize_dtype(x.dtype) != "float64":
        x = ops.cast(x, "float32")
    if not axes:
        return x
    scale = ops.maximum(ops.max(x, axis=axes, keepdims=True), _SMALLEST)
    squares = ops.sum(ops.square(x / scale), axis=axes, keepdims=True)
    return ops.sqrt(squares) * scale


def _fusible(
    gradients: Sequence[Tensor],
    variables: Sequence[keras.Variable],
    units: Sequence[tuple[int, ...] | None],
) -> Iterator[list[int]]:
    """Yields the indices of gradients that are clipped in one operation each."""
    groups: dict[Any, list[int]] = {}
    for index, (variable, axes) in enumerate(zip(variables, units, strict=True)):
        shape = tuple(variable.shape)
        if axes is None:
            continue
        alone = index if math.prod(shape) > LARGEST_FUSED else None
        dtypes = (str(gradients[index].dtype), str(variable.dtype))
        groups.setdefault((shape, axes, dtypes, alone), []).append(index)
    yield from groups.values()
