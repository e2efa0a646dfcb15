"""Stochastic depth."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Shape, Tensor
from fixinit._validation import (
    check_branch,
    check_choice,
    check_probability,
    check_seed,
)
from fixinit.layers import noise
from fixinit.layers.facts import Facts
from fixinit.layers.scalars import check_float

LEVELS = ("batch", "sample")
SCALINGS = ("test", "inverted", "none")


def survival_probability(branch: int, num_branches: int, last: float = 0.5) -> float:
    """The probability of each branch under the papers' rule of linear decay.

    `p_l = 1 - (l / L) * (1 - p_L)`, with L = `num_branches`, l = `branch` + 1 and
    p_L = `last`: early branches, which later ones build on, survive more often.

    Example:

    >>> [fixinit.layers.survival_probability(l, num_branches=4) for l in range(4)]
    [0.875, 0.75, 0.625, 0.5]

    Args:
        branch: int in `[0, num_branches)`. Index of the branch from the input.
        num_branches: int, at least 1. Number of residual branches (L).
        last: float in (0, 1]. Probability of the last branch, 0.5 by default.

    Returns:
        float.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Huang et al., 2016](https://arxiv.org/abs/1603.09382), equation 4.
    """
    branch, num_branches = check_branch(branch, num_branches)
    last = check_probability("last", last)
    return 1.0 - (branch + 1) / num_branches * (1.0 - last)


@keras.saving.register_keras_serializable("fixinit")
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch at random: the last layer of the branch.

    During training, with b = 1 with probability p and b = 0 otherwise,

        outputs = b * inputs        (scaling="test", the paper)
        outputs = b / p * inputs    (scaling="inverted", as in Dropout)
        outputs = b * inputs        (scaling="none", as in NFNets)

    and at test time

        outputs = p * inputs        (scaling="test")
        outputs = inputs            (scaling="inverted" or "none")

    The branch is computed either way, and only its output dropped: training takes
    no less time.

    Example:

    >>> block = fixinit.layers.ResidualBlock(
    ...     branch=[
    ...         keras.layers.Dense(4, activation="relu"),
    ...         fixinit.layers.StochasticDepth(survival_probability=0.8, seed=1),
    ...     ]
    ... )
    >>> tuple(block(keras.ops.ones((2, 4)), training=True).shape)
    (2, 4)

    Args:
        survival_probability: float in (0, 1], 0.5 by default. The probability p
            that the branch is kept. The papers let it decay with depth: see
            `fixinit.layers.survival_probability`. A `fixinit.layers.Stack` takes
            one per block among its `constants`.
        level: What is dropped as one: `"batch"` (default, the paper's) or
            `"sample"`.
        scaling: `"test"` (default, the paper's) or `"inverted"`: where the factor
            p or 1 / p stands that lets training and test agree in the mean. `"none"`
            leaves it out.
        seed: int. Seed of the draws.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If an argument is outside its range, or if the inputs are not
            floating-point.

    Reference:

    - [Huang et al., 2016](https://arxiv.org/abs/1603.09382), section 3.
    """

    fixinit_facts = Facts(linear=True)

    def __init__(
        self,
        survival_probability: float = 0.5,
        level: str = "batch",
        scaling: str = "test",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.survival_probability = check_probability(
            "survival_probability", survival_probability
        )
        self.level = check_choice("level", level, LEVELS)
        self.scaling = check_choice("scaling", scaling, SCALINGS)
        self.seed = check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        check_float(self.name, inputs)
        if not training:
            if self.scaling == "test":
                return inputs * self.survival_probability
            return inputs
        draws = noise.uniform(inputs, self.level, self.seed_generator)
        survives = ops.less(draws, self.survival_probability)
        outputs = inputs * ops.cast(survives, inputs.dtype)
        if self.scaling == "inverted":
            outputs = outputs / self.survival_probability
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "survival_probability": self.survival_probability,
            "level": self.level,
            "scaling": self.scaling,
            "seed": self.seed,
        }
