"""ShakeDrop."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fixinit._typing import Shape, Tensor
from fixinit._validation import (
    check_choice,
    check_number,
    check_probability,
    check_seed,
    check_sequence,
)
from fixinit.layers import noise
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class ShakeDrop(keras.layers.Layer):
    """Distorts a residual branch at random: the last layer of the branch.

    With b = 1 with probability p and b = 0 otherwise, one draw for the whole batch,
    and independent alpha and beta, uniform in their ranges,

        training, forward:   outputs = (b + alpha - b * alpha) * inputs
        training, gradient:  (b + beta - b * beta) * upstream
        test:                outputs = (p + (1 - p) * E[alpha]) * inputs

    So the branch passes as it is with probability p, and is multiplied otherwise by
    alpha, which may be negative, and its gradient by beta. `alpha=(0, 0)` and
    `beta=(0, 0)` give `StochasticDepth`.

    Example:

    >>> layer = fixinit.layers.ShakeDrop(survival_probability=0.75, seed=1)
    >>> float(keras.ops.mean(layer(keras.ops.ones((2, 4)))))
    0.75

    Args:
        survival_probability: float in (0, 1], 0.5 by default. The probability p
            that the branch passes unchanged. The paper lets it decay with depth:
            see `fixinit.layers.survival_probability`. A `fixinit.layers.Stack`
            takes one per block among its `constants`.
        alpha: Pair of numbers, the range of the forward factor, `(-1, 1)` by
            default, as published.
        beta: Pair of numbers, the range of the backward factor, `(0, 1)` by
            default, as published.
        level: What has an alpha and a beta of its own: `"batch"`, `"sample"`,
            `"channel"` of a sample, or `"element"` (default, as in the authors'
            code).
        seed: int. Seed of the draws.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any. Channels are the last axis.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If an argument is outside its range, or if the inputs are not
            floating-point.

    Reference:

    - [Yamada et al., 2019](https://arxiv.org/abs/1802.02375), section III.
    """

    def __init__(
        self,
        survival_probability: float = 0.5,
        alpha: Sequence[float] = (-1.0, 1.0),
        beta: Sequence[float] = (0.0, 1.0),
        level: str = "element",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.survival_probability = check_probability(
            "survival_probability", survival_probability
        )
        self.alpha = _check_range("alpha", alpha)
        self.beta = _check_range("beta", beta)
        self.level = check_choice("level", level, noise.LEVELS)
        self.seed = check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        check_float(self.name, inputs)
        if not training:
            mean = (self.alpha[0] + self.alpha[1]) / 2
            p = self.survival_probability
            return inputs * (p + (1.0 - p) * mean)
        gate = noise.uniform(inputs, "batch", self.seed_generator)
        survives = ops.less(gate, self.survival_probability)

        def distorted(low: float, high: float) -> Tensor:
            factor = noise.uniform(inputs, self.level, self.seed_generator, low, high)
            factor = ops.where(survives, ops.ones_like(factor), factor)
            return inputs * ops.cast(factor, inputs.dtype)

        return noise.with_gradient_of(distorted(*self.alpha), distorted(*self.beta))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "survival_probability": self.survival_probability,
            "alpha": list(self.alpha),
            "beta": list(self.beta),
            "level": self.level,
            "seed": self.seed,
        }


def _check_range(argument: str, value: Any) -> tuple[float, float]:
    bounds = check_sequence(argument, value, "(0, 1)")
    if len(bounds) == 2:
        allowed = "two finite numbers, the smaller first"
        low = check_number(argument, bounds[0], allowed, lambda x: True)
        high = check_number(argument, bounds[1], allowed, lambda x: True)
        if low <= high:
            return low, high
    raise ValueError(
        f"Argument `{argument}` must be two numbers, the smaller first, such as "
        f"(-1, 1). Received: {argument}={value!r}"
    )
