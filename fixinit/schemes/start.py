"""How a residual branch starts: declared by schemes, read by everyone else."""

import dataclasses
import math

import keras

from fixinit import initializers
from fixinit._checked import check_fields
from fixinit._validation import (
    check_choice,
    check_factor,
    check_initializer,
    check_variance,
)

CARRIERS = ("merge", "multiplier", "kernel", "layers")


@dataclasses.dataclass(frozen=True)
class Start:
    """The sum of a residual block at initialization.

        outputs = shortcut_scale * shortcut + branch_scale * scale * F(inputs)

    F is the branch with He initialization. Models, the converter, diagnostics and
    closed forms read from here whether and how a branch starts at zero.

    Attributes:
        scale: float. Scale of the branch, 1 by default. At 0 the block starts as
            the identity.
        by: What carries the scale.

            * `"merge"` (default): the constant factor of a
              `fixinit.layers.ScaledAdd`;
            * `"multiplier"`: a `fixinit.layers.ScalarMultiplier` at the branch's
              end, which trains;
            * `"kernel"`: the draw of the branch's last weight layer;
            * `"layers"`: layers of the scheme's own, in `branch_end`.
        shortcut_scale: float. Constant factor of the shortcut, 1 by default.
        branch_scale: float. Constant factor of the branch in the merge, beside a scale
            that something else carries; 1 by default.

    Example:

    >>> start = fixinit.schemes.Start(0.5)
    >>> start.variance_factor
    1.25

    Raises:
        ValueError: If a factor is not finite, `by` is unknown, or a constant 0 would
            keep the branch from training.
    """

    scale: float = 1.0
    by: str = "merge"
    shortcut_scale: float = 1.0
    branch_scale: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("scale", "shortcut_scale", "branch_scale"):
            check_factor(name, getattr(self, name))
        check_choice("by", self.by, CARRIERS)
        if self.by == "merge" and self.branch_scale != 1:
            raise ValueError(
                "Argument `branch_scale` stands beside a scale that the merge does not "
                "carry. Received: branch_scale="
                f"{self.branch_scale} with by='merge'. Multiply `scale` by it."
            )
        if self.scale == 0 and self.by == "merge":
            raise ValueError(
                "Argument `scale` must not be 0 where `by` is 'merge': a branch times "
                f"the constant 0 never trains. Received: scale={self.scale}. Use "
                "by='multiplier' or by='kernel', which train."
            )

    @property
    def is_zero(self) -> bool:
        """Whether the branch starts at zero."""
        return self.scale == 0

    @property
    def merge_scale(self) -> float:
        """The constant factor of the branch in the merge."""
        return self.scale if self.by == "merge" else self.branch_scale

    @property
    def total_scale(self) -> float:
        """What the branch is multiplied by at initialization."""
        return self.branch_scale * self.scale

    @property
    def variance_factor(self) -> float:
        """The factor by which a block multiplies the variance.

        E[relu(x)^2] = E[x^2] / 2 and He's kernel variance 2 / fan_in give F the
        variance of its input: `shortcut_scale^2 + (branch_scale * scale)^2`.
        """
        return self.shortcut_scale**2 + self.total_scale**2

    def raised(self, smallest: float) -> "Start":
        """The same start, at `smallest` where it would be zero."""
        check_variance("smallest", smallest)
        return dataclasses.replace(self, scale=smallest) if self.is_zero else self

    def scaled(
        self, initializer: keras.initializers.Initializer
    ) -> keras.initializers.Initializer:
        """The initializer, its standard deviation times `scale`."""
        check_initializer("initializer", initializer)
        if self.scale == 1:
            return initializer
        if isinstance(initializer, keras.initializers.VarianceScaling):
            return keras.initializers.VarianceScaling(
                initializer.scale * self.scale**2,
                initializer.mode,
                initializer.distribution,
                initializer.get_config()["seed"],
                input_axes=initializer.input_axes,
                output_axes=initializer.output_axes,
            )
        return initializers.Rescaled(initializer, math.fabs(self.scale))


def constant(value: float) -> keras.initializers.Initializer:
    """The initializer of a constant, under its own name where it has one."""
    named = {0.0: keras.initializers.Zeros, 1.0: keras.initializers.Ones}
    if value in named:
        return named[value]()
    return keras.initializers.Constant(value)
