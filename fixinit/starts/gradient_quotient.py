"""MetaInit: norms of kernels at which a step changes the gradient least."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Identifier, Tensor
from fixinit.starts.criterion import Problem, check_finite
from fixinit.starts.scales import Scales
from fixinit.starts.started import DataStart

_EPSILON = 1e-5
_RATE, _MOMENTUM = 0.1, 0.9
# Of what a norm was.
_SMALLEST = 0.01


def metainit(
    model: keras.Model, x: Any, y: Any, loss: Identifier, steps: int
) -> DataStart:
    """See `fixinit.initialize_from_data`."""
    scales = Scales(model, kernels_only=True)
    problem = Problem(model, x, y, loss, scales)
    evaluate = problem.compiled(_quotient(scales))
    factors = scales.ones()
    norms = _Norms(scales)
    best = None
    before = 0.0
    for step in range(steps + 1):
        value, gradients = evaluate(factors)
        check_finite("metainit", value, gradients)
        before = value if step == 0 else before
        if best is None or value < best[0]:
            best = value, factors
        factors = norms.step(factors, gradients)
    assert best is not None
    scales.assign(best[1])
    kept = tuple(scales.kept)
    return DataStart("metainit", scales.by_path(best[1]), before, best[0], kept)


class _Norms:
    """Steps of norms along signs, with momentum."""

    def __init__(self, scales: Scales) -> None:
        self._norms = scales.norms()
        self._memory = [np.zeros_like(n) for n in self._norms]

    def step(
        self, factors: list[np.ndarray], gradients: list[np.ndarray]
    ) -> list[np.ndarray]:
        """The factors of the kernels whose norms have moved."""
        found = []
        for i, (factor, gradient) in enumerate(zip(factors, gradients, strict=True)):
            self._memory[i] = _MOMENTUM * self._memory[i] - _RATE * np.sign(gradient)
            # Norms of zero, of single blocks of a stack, stay.
            safe = np.where(self._norms[i] > 0, self._norms[i], np.inf)
            moved = factor + self._memory[i] / safe
            found.append(np.maximum(moved, _SMALLEST).astype("float32"))
        return found


def _quotient(scales: Scales) -> Any:
    """`mean |(g - H g) / (g + epsilon sign(g)) - 1|` over the scaled weights."""

    def criterion(
        loss: Callable[..., Tensor], weights: list[Tensor], rest: Sequence[Any]
    ) -> Tensor:
        inner = backend.inner_gradients(loss)

        def half_square(weights: list[Tensor], *rest: Any) -> Tensor:
            return sum(ops.sum(g**2) for g in inner(weights, *rest)) / 2

        gradients = scales.chosen(inner(weights, *rest))
        products = scales.chosen(backend.inner_gradients(half_square)(weights, *rest))
        total, count = 0.0, 0
        for g, h in zip(gradients, products, strict=True):
            sign = ops.where(g >= 0, ops.ones_like(g), -ops.ones_like(g))
            total = total + ops.sum(ops.abs((g - h) / (g + _EPSILON * sign) - 1))
            count += int(np.prod(g.shape))
        return total / count

    return criterion
