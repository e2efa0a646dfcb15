"""Fixup's initializer."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._checked import checked_but
from fixinit._validation import check_initializer_seed, check_positive_int


@keras.saving.register_keras_serializable("fixinit")
class Fixup(keras.initializers.VarianceScaling):
    """Fixup's initializer for the inner weight layers of a residual branch.

    Draws zero-mean samples with the standard deviation of He initialization,
    scaled down with the number of residual branches (rule 2 of the paper):

        stddev = sqrt(2 / fan) * num_branches ** (-1 / (2 * branch_depth - 2))

    so that one step of gradient descent changes the network's output by the
    same order of magnitude at every depth. The *last* weight layer of a branch
    and the classification layer start at zero (rule 1): give those
    `keras.initializers.Zeros()`.

    Example:

    >>> initializer = fixinit.initializers.Fixup(num_branches=54, seed=0)
    >>> layer = keras.layers.Conv2D(16, 3, kernel_initializer=initializer)
    >>> float(initializer.scale) == 2 / 54
    True

    Args:
        num_branches: int, at least 1. Number of residual branches in the whole
            network (L in the paper).
        branch_depth: int, at least 2. Number of weight layers in one branch (m
            in the paper): 2 in a basic block, 3 in a bottleneck. With a single
            layer the exponent is undefined, and rule 1 sets that layer to zero.
        mode: One of `"fan_in"`, `"fan_out"`, `"fan_avg"`. The authors' code
            uses `"fan_out"`, the default.
        distribution: One of `"truncated_normal"`, `"untruncated_normal"`,
            `"uniform"`. The authors' code uses the second, the default.
        seed: int or `keras.random.SeedGenerator`. As with every Keras
            initializer, an integer or `None` repeats the same values at every
            call: give each layer a seed of its own.
        input_axes, output_axes: Lists of ints, the kernel's axes that a fan is counted
            over, as in `keras.initializers.VarianceScaling`: `keras.layers.EinsumDense`
            gives them.

    Raises:
        ValueError: If `num_branches < 1` or `branch_depth < 2`.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 3.
    """

    @checked_but("num_branches", "branch_depth")
    def __init__(
        self,
        num_branches: int,
        branch_depth: int = 2,
        mode: str = "fan_out",
        distribution: str = "untruncated_normal",
        seed: Any = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        self.num_branches = check_positive_int("num_branches", num_branches)
        self.branch_depth = check_positive_int(
            "branch_depth",
            branch_depth,
            minimum=2,
            hint="Fixup sets the only layer of a one-layer branch to zero; use "
            "keras.initializers.Zeros() for it.",
        )
        # The variance 2 / fan times the square of rule 2's factor.
        scale = 2.0 * self.num_branches ** (-1.0 / (self.branch_depth - 1))
        super().__init__(
            scale,
            mode,
            distribution,
            check_initializer_seed("seed", seed),
            input_axes=input_axes,
            output_axes=output_axes,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["scale"]
        return {
            "num_branches": self.num_branches,
            "branch_depth": self.branch_depth,
            **config,
        }
