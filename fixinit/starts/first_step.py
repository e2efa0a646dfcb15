"""GradInit: factors of weights at which the first step of training goes furthest."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Identifier, Tensor
from fixinit.diagnostics._shared.trial_optimizer import unscaled
from fixinit.starts.criterion import Problem, check_finite
from fixinit.starts.scales import Scales
from fixinit.starts.started import DataStart

# Adam on the factors, and the smallest factor.
_RATE, _BETAS, _EPSILON, _SMALLEST = 0.01, (0.9, 0.999), 1e-8, 0.01


def gradinit(
    model: keras.Model,
    x: Any,
    y: Any,
    loss: Identifier,
    optimizer: keras.optimizers.Optimizer,
    steps: int,
    gradient_norm: float,
) -> DataStart:
    """See `fixinit.initialize_from_data`."""
    scales = Scales(model, kernels_only=False)
    problem = Problem(model, x, y, loss, scales)
    inner = unscaled(optimizer)
    rate = float(ops.convert_to_numpy(inner.learning_rate))
    descends = isinstance(inner, keras.optimizers.SGD)
    norm = problem.compiled(_gradient_norm(descends))
    after_step = problem.compiled(_after_step(descends, rate))
    adam = _Adam(scales.ones())
    before, best = 0.0, None
    for step in range(steps + 1):
        size, of_norm = norm(adam.factors)
        value, gradients = after_step(adam.factors)
        check_finite("gradinit", value + size, [*of_norm, *gradients])
        before = value if step == 0 else before
        # Whatever bounds the gradient comes first, then the smaller loss.
        rank = max(size, gradient_norm), value
        if best is None or rank < best[0]:
            best = rank, list(adam.factors)
        adam.step(of_norm if size > gradient_norm else gradients)
    assert best is not None
    scales.assign(best[1])
    found = scales.by_path(best[1])
    return DataStart("gradinit", found, before, best[0][1], tuple(scales.kept))


class _Adam:
    """Adam on a few numbers."""

    def __init__(self, factors: list[np.ndarray]) -> None:
        self.factors, self._step = factors, 0
        self._means = [np.zeros_like(f) for f in factors]
        self._squares = [np.zeros_like(f) for f in factors]

    def step(self, gradients: Sequence[np.ndarray]) -> None:
        self._step += 1
        first, second = (1 - beta**self._step for beta in _BETAS)
        for i, gradient in enumerate(gradients):
            self._means[i] += (1 - _BETAS[0]) * (gradient - self._means[i])
            self._squares[i] += (1 - _BETAS[1]) * (gradient**2 - self._squares[i])
            root = np.sqrt(self._squares[i] / second) + _EPSILON
            moved = self.factors[i] - _RATE * self._means[i] / first / root
            self.factors[i] = np.maximum(moved, _SMALLEST).astype("float32")


def _gradient_norm(descends: bool) -> Any:
    """|g|_2 where the step is along the gradient, |g|_1 where along its signs."""

    def criterion(
        loss: Callable[..., Tensor], weights: list[Tensor], rest: Sequence[Any]
    ) -> Tensor:
        gradients = backend.inner_gradients(loss)(weights, *rest)
        if descends:
            return ops.sqrt(sum(ops.sum(g**2) for g in gradients) + 1e-30)
        return sum(ops.sum(ops.abs(g)) for g in gradients)

    return criterion


def _after_step(descends: bool, rate: float) -> Any:
    """The loss behind one step of the optimizer."""

    def criterion(
        loss: Callable[..., Tensor], weights: list[Tensor], rest: Sequence[Any]
    ) -> Tensor:
        gradients = backend.inner_gradients(loss)(weights, *rest)
        steps = gradients if descends else [ops.sign(g) for g in gradients]
        stepped = [w - rate * s for w, s in zip(weights, steps, strict=True)]
        return loss(stepped, *rest)

    return criterion
