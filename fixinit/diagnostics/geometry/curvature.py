"""Curvature of the loss: the largest eigenvalue of its Hessian."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import check_number, check_positive_int, check_seed
from fixinit.diagnostics.geometry.lanczos import Bidiagonalization
from fixinit.diagnostics.geometry.noise_scale import flattened
from fixinit.diagnostics.geometry.weight_function import WeightFunction


@dataclasses.dataclass(frozen=True)
class LossCurvature:
    """Largest eigenvalue of the Hessian of a loss.

    Example:

    >>> curvature = fixinit.diagnostics.LossCurvature(40.0, 1e-3, 50.0)
    >>> curvature.overshoot(0.1)
    2.0

    Attributes:
        largest: float, lambda_max. The largest eigenvalue; negative ones are smaller.
        error: float. How far it may be from an eigenvalue.
        norm: float. The largest magnitude of an eigenvalue: more than `largest` where
            the loss is curved downward most.
    """

    largest: float
    error: float
    norm: float

    def overshoot(self, learning_rate: float) -> float:
        """`learning_rate * lambda_max / 2` for a step of gradient descent.

        At 1/2 a step reaches the minimum along the eigenvector; beyond 1 the loss
        grows there with every step. Optimizers that scale the gradient, as Adam, are
        not described.
        """
        return learning_rate * self.largest / 2


@checked
def loss_curvature(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Identifier | None = None,
    tolerance: float = 1e-2,
    max_iterations: int = 30,
    training: bool = False,
    seed: int = 0,
) -> LossCurvature:
    """Computes the largest eigenvalue of the Hessian of the loss by the weights.

        H_ij = d^2 loss / (dw_i dw_j)

    by Golub-Kahan-Lanczos bidiagonalization, from products H v. It finds magnitudes:
    first the norm |H| of H, then lambda_max + |H| as the largest one of H + |H| I,
    which has no negative eigenvalue. Up to `2 max_iterations` vectors as long as all
    weights together are held in float64.

    Example:

    >>> inputs = keras.Input((2,))
    >>> dense = keras.layers.Dense(1, use_bias=False)
    >>> model = keras.Model(inputs, dense(inputs))
    >>> x, y = np.diag([1.0, 3.0]).astype("float32"), np.zeros((2, 1), "float32")
    >>> round(fixinit.diagnostics.loss_curvature(model, x, y, "mse").largest, 3)
    9.0

    Args:
        model: `keras.Model`, built. It stays as it is.
        x: Batch of inputs.
        y: Their targets.
        loss: As `diagnose` takes it.
        tolerance: float. Largest error, relative to |H|.
        max_iterations: int. Number of pairs of products, for each of the two, after
            which it ends anyway.
        training: bool. Whether layers run in training mode.
        seed: int. Of the vector that the iteration starts from.

    Returns:
        `LossCurvature`, infinite where the Hessian overflows.

    Raises:
        TypeError: If the model has no graph, or inputs of another kind than it takes.
        ValueError: If an argument is outside its range, or if inputs or weights are
            not finite.

    References:

    - [Golub and Kahan, 1965](https://doi.org/10.1137/0702016)
    - [Schneider, Dangel and Hennig, 2021](https://arxiv.org/abs/2102.06604), Cockpit.
    """
    check_positive_int("max_iterations", max_iterations)
    check_number("tolerance", tolerance, "a positive number", lambda t: t > 0)
    check_seed("seed", seed)
    function = WeightFunction(model, x, y, loss, training)
    return curvature_of(function, tolerance, max_iterations, seed)


def curvature_of(
    function: WeightFunction,
    tolerance: float = 1e-2,
    max_iterations: int = 30,
    seed: int = 0,
) -> LossCurvature:
    """The `LossCurvature` of a `WeightFunction` at the model's own weights."""
    weights = function.own_weights()
    shapes = [tuple(w.shape) for w in weights]
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])

    def multiply(vectors: np.ndarray) -> np.ndarray:
        parts = np.split(vectors[0], ends[:-1])
        tensors = [
            ops.convert_to_tensor(part.reshape(shape), dtype=w.dtype)
            for part, shape, w in zip(parts, shapes, weights, strict=True)
        ]
        found = flattened(function.hessian_product(weights, tensors))[None]
        if not np.isfinite(found).all():
            raise FloatingPointError("The Hessian of the loss overflows.")
        return found

    start = np.random.default_rng(seed).standard_normal((1, int(ends[-1])))
    try:
        norm, error = _largest(multiply, start, tolerance, max_iterations)
        # At least |H|, also where the iteration has ended early.
        shift = norm + error
        largest, error = _largest(
            lambda v: multiply(v) + shift * v, start, tolerance / 2, max_iterations
        )
    except FloatingPointError:
        return LossCurvature(np.inf, np.inf, np.inf)
    return LossCurvature(largest - shift, error, norm)


def _largest(
    multiply: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    tolerance: float,
    max_iterations: int,
) -> tuple[float, float]:
    """The largest singular value of a symmetric matrix, and its error."""
    lanczos = Bidiagonalization(multiply, multiply, start)
    for _ in range(min(max_iterations, start.shape[1]) - 1):
        (values,), (errors,) = lanczos.singular_values()
        if lanczos.exhausted or errors[0] <= tolerance * values[0]:
            break
        lanczos.step()
    (values,), (errors,) = lanczos.singular_values()
    return float(values[0]), float(errors[0])
