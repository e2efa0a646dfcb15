"""Initializer of scaled residual branches."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from fixinit._checked import checked_but
from fixinit._validation import (
    check_branch,
    check_choice,
    check_initializer_seed,
    check_number,
)

SCALES = ("inverse_sqrt", "inverse", "decreasing")


def residual_scale(scale: str | float, num_branches: int, branch: int = 0) -> float:
    """The factor of one residual branch in a scaled residual network.

    With L = `num_branches` and l = `branch` + 1:

    | `scale` | factor | origin |
    |---|---|---|
    | `"inverse_sqrt"` | `1 / sqrt(L)` | Hayou et al., "uniform" |
    | `"inverse"` | `1 / L` | the step of an ODE `x' = F(x)` |
    | `"decreasing"` | `1 / (sqrt(l) * log(l + 1))` | Hayou et al., "decreasing" |
    | a float | itself | a constant such as 0.1 |

    Example:

    >>> fixinit.initializers.residual_scale("inverse_sqrt", num_branches=100)
    0.1

    Args:
        scale: One of the names above, or a positive number.
        num_branches: int, at least 1. Number of residual branches (L).
        branch: int in `[0, num_branches)`. Index of the branch from the input.

    Returns:
        float.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Hayou et al., 2021](https://arxiv.org/abs/2010.12859), section 3.
    """
    branch, num_branches = check_branch(branch, num_branches)
    if not isinstance(scale, str):
        allowed = f"a positive number with a finite square, or one of {list(SCALES)}"
        return check_number("scale", scale, allowed, lambda x: x > 0 < x * x < math.inf)
    check_choice("scale", scale, SCALES)
    if scale == "inverse_sqrt":
        return 1.0 / math.sqrt(num_branches)
    if scale == "inverse":
        return 1.0 / num_branches
    index = branch + 1
    return 1.0 / (math.sqrt(index) * math.log(index + 1))


@keras.saving.register_keras_serializable("fixinit")
class ScaledResidual(keras.initializers.VarianceScaling):
    """He initialization times the factor of a scaled residual branch.

    Draws zero-mean samples with

        stddev = a * sqrt(2 / fan),    a = residual_scale(scale, num_branches, branch)

    Used for the last weight layer of every branch, it folds the multiplier of
    `x + a * F(x)` into the kernel: at initialization the two networks compute
    the same function in distribution.

    Example:

    >>> initializer = fixinit.initializers.ScaledResidual(num_branches=100)
    >>> kernel = initializer((512, 512))
    >>> bool(abs(float(keras.ops.std(kernel)) * 512**0.5 - 0.1 * 2**0.5) < 1e-3)
    True

    Args:
        num_branches: int, at least 1. Number of residual branches (L).
        scale: `"inverse_sqrt"` (default), `"inverse"`, `"decreasing"` or a
            positive number: see `fixinit.initializers.residual_scale`.
        branch: int. Index of this branch from the input, counted from 0. Only
            `"decreasing"` depends on it.
        mode: One of `"fan_in"` (default), `"fan_out"`, `"fan_avg"`.
        distribution: One of `"truncated_normal"` (default),
            `"untruncated_normal"`, `"uniform"`.
        seed: int or `keras.random.SeedGenerator`. An integer or `None` repeats
            the same values at every call: give each layer a seed of its own.
        input_axes, output_axes: Lists of ints, the kernel's axes that a fan is counted
            over, as in `keras.initializers.VarianceScaling`: `keras.layers.EinsumDense`
            gives them.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Hayou et al., 2021](https://arxiv.org/abs/2010.12859)
    """

    @checked_but("num_branches", "scale", "branch")
    def __init__(
        self,
        num_branches: int,
        scale: str | float = "inverse_sqrt",
        branch: int = 0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        factor = residual_scale(scale, num_branches, branch)
        branch, num_branches = check_branch(branch, num_branches)
        super().__init__(
            2.0 * factor**2,
            mode,
            distribution,
            check_initializer_seed("seed", seed),
            input_axes=input_axes,
            output_axes=output_axes,
        )
        self.num_branches = num_branches
        self.residual_scale = scale if isinstance(scale, str) else float(scale)
        self.branch = branch

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "num_branches": self.num_branches,
            "scale": self.residual_scale,
            "branch": self.branch,
        }
