"""Loss surface: the loss on a plane through the weights of a model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit._checked import checked
from fixinit._typing import ArrayLike, Identifier, Tensor
from fixinit._validation import (
    MOST_SAMPLES,
    check_number,
    check_positive_int,
    check_seed,
)
from fixinit.diagnostics.geometry.weight_function import WeightFunction
from fixinit.layers import Stack

# Layers of which the filters of a kernel do not lie along its last axis alone.
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


@dataclasses.dataclass(frozen=True)
class LossSurface:
    """Loss on a plane through the weights of a model.

    Example:

    >>> losses = np.array([[2.0, 1.0, 2.0], [1.0, 0.5, 1.0], [2.0, 1.0, 2.0]])
    >>> coordinates = np.array([-1.0, 0.0, 1.0])
    >>> fixinit.diagnostics.LossSurface(coordinates, losses, ([], [])).center
    0.5

    Attributes:
        coordinates: Array `(num_points,)`, the same along both directions.
        losses: Array `(num_points, num_points)`: `losses[i, j]` is the loss at
            `weights + coordinates[i] * directions[0] + coordinates[j] *
            directions[1]`. Infinite where it overflows.
        directions: Two lists of arrays like the model's trainable variables.
    """

    coordinates: np.ndarray
    losses: np.ndarray
    directions: tuple[Sequence[ArrayLike], ...]

    @property
    def center(self) -> float:
        """float: the loss at the model's own weights."""
        middle = len(self.coordinates) // 2
        return float(self.losses[middle, middle])


@checked
def loss_surface(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Identifier | None = None,
    num_points: int = 21,
    extent: float = 1.0,
    directions: Sequence[Sequence[ArrayLike]] | None = None,
    training: bool = False,
    seed: int = 0,
) -> LossSurface:
    """Computes the loss on a plane through the weights, filter-normalized.

        L(a, b) = loss(weights + a * d_1 + b * d_2),    |d_filter| = |w_filter|

    A direction is Gaussian noise in which every filter, the weights of one output unit,
    has the norm of the model's own. A network of ReLUs, or with normalization, computes
    the same with some filters enlarged and others made smaller; such directions make
    its picture the same too. Biases, the scales and shifts of normalization layers and
    other vectors and scalars stay as they are, and so do filters that are zero.

    Example:

    >>> model = fixinit.models.ResidualMLP(2, 8, input_shape=(4,), seed=0)
    >>> x, y = np.ones((8, 4), "float32"), np.zeros(8, "int32")
    >>> surface = fixinit.diagnostics.loss_surface(model, x, y, num_points=5)
    >>> surface.losses.shape, round(surface.center, 4)
    ((5, 5), 2.3026)

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs.
        y: Their targets.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`. By default that
            which the model is compiled with; if it is not compiled, cross-entropy for
            integer targets and mean squared error for others.
        num_points: int, odd, at least 3. Points along each direction; the middle is
            the model.
        extent: float. Coordinates reach from `-extent` to `extent`.
        directions: Two lists of arrays like `model.trainable_variables`, which are
            taken as they are. By default two are drawn.
        training: bool. Whether the model runs in training mode, in which
            BatchNormalization uses the statistics of the batch.
        seed: int. Of the directions.

    Returns:
        `LossSurface`.

    Raises:
        TypeError: If the model has no graph, or inputs of another kind than it takes.
        ValueError: If an argument is outside its range, if the model is not built, or
            if inputs or weights are not finite.

    Reference:

    - [Li et al., 2018](https://arxiv.org/abs/1712.09913)
    """
    check_positive_int("num_points", num_points, minimum=3, maximum=MOST_SAMPLES)
    if num_points % 2 == 0:
        raise ValueError(
            "Argument `num_points` must be odd, so that the middle is the model "
            f"itself. Received: num_points={num_points}. Try {num_points + 1}."
        )
    check_number("extent", extent, "a positive number", lambda e: e > 0)
    check_seed("seed", seed)
    function = WeightFunction(model, x, y, loss, training)
    if directions is None:
        directions = [filter_normalized_direction(model, [seed, i]) for i in range(2)]
    first, second = (_checked(d, model) for d in _pair(directions))
    # Integers, so that the middle is 0 and nothing but 0.
    half = num_points // 2
    coordinates = extent * np.arange(-half, half + 1) / half
    losses = np.empty((num_points, num_points))
    weights = [v.value for v in model.trainable_variables]
    for i, a in enumerate(coordinates):
        row = _moved(weights, first, a)
        for j, b in enumerate(coordinates):
            losses[i, j] = function.loss(_moved(row, second, b))
    losses = np.where(np.isnan(losses), np.inf, losses)
    return LossSurface(coordinates, losses, tuple(directions))


@checked
def filter_normalized_direction(
    model: keras.Model, seed: int | Sequence[int]
) -> list[np.ndarray]:
    """Draws Gaussian noise with the norm of the model's weights, filter by filter.

    Args:
        model: Built `keras.Model`.
        seed: int or list of ints.

    Returns:
        List of float32 arrays like `model.trainable_variables`.
    """
    rng = np.random.default_rng(seed)
    kept_axes = _filter_axes(model)
    direction = []
    for v in model.trainable_variables:
        weight = ops.convert_to_numpy(ops.cast(v.value, "float32"))
        kept = kept_axes.get(id(v), (-1,))
        noise = rng.standard_normal(weight.shape).astype("float32")
        filters = {axis % max(weight.ndim, 1) for axis in kept}
        axes = tuple(axis for axis in range(weight.ndim) if axis not in filters)
        if not axes:
            direction.append(np.zeros_like(weight))
            continue
        norms, own = (
            np.sqrt(np.sum(np.square(h), axis=axes, keepdims=True))
            for h in (weight, noise)
        )
        direction.append(noise * norms / own)
    return direction


def _filter_axes(model: keras.Model) -> dict[int, tuple[int, ...]]:
    """Maps ids of weights to the axes of filters, where it is not the last alone."""
    found: dict[int, tuple[int, ...]] = {}
    for layer in _keras.flatten_layers(model):
        if isinstance(layer, Stack):
            found |= {id(v): (0, -1) for v in layer.trainable_variables}
        elif isinstance(layer, _DEPTHWISE):
            found[id(layer.kernel)] = (-2, -1)
        elif isinstance(layer, _SEPARABLE):
            found[id(layer.depthwise_kernel)] = (-2, -1)
        elif isinstance(layer, _TRANSPOSED):
            found[id(layer.kernel)] = (-2,)
        elif isinstance(layer, keras.layers.Embedding):
            found[id(_keras.embedding_variable(layer))] = (0,)
    return found


def _pair(
    directions: Sequence[Sequence[ArrayLike]],
) -> Sequence[Sequence[ArrayLike]]:
    if len(directions) == 2:
        return directions
    raise ValueError(
        f"Argument `directions` must hold two directions. Received: {len(directions)}"
    )


def _checked(direction: Sequence[ArrayLike], model: keras.Model) -> list[Tensor]:
    variables = model.trainable_variables
    shapes = [tuple(v.shape) for v in variables]
    received = [tuple(np.shape(d)) for d in direction]
    if received != shapes:
        raise ValueError(
            "Each of `directions` must be a list of arrays like "
            f"`model.trainable_variables`, of shapes {shapes}. Received: {received}"
        )
    return [
        ops.convert_to_tensor(np.asarray(ops.convert_to_numpy(d)), dtype=v.dtype)
        for d, v in zip(direction, variables, strict=True)
    ]


def _moved(
    weights: Sequence[Tensor], direction: Sequence[Tensor], distance: float
) -> list[Tensor]:
    return [w + float(distance) * d for w, d in zip(weights, direction, strict=True)]
