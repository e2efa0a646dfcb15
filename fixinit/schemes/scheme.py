"""The contract between networks, which ask, and schemes, which answer."""

import dataclasses
from typing import Any, ClassVar

import keras
import numpy as np

from fixinit import layers
from fixinit._validation import check_choice, check_positive_int
from fixinit.schemes._findings import FINDINGS

ROLES = ("branch", "stem", "projection", "trunk", "head")


@dataclasses.dataclass(frozen=True)
class Site:
    """Where one weight layer sits in a residual network.

    Attributes:
        branch: int. Index of the residual branch, counted from the input, from 0.
        num_branches: int. Number of residual branches in the network (L).
        layer: int. Index of the weight layer within its branch, from 0.
        branch_depth: int. Number of weight layers in the branch (m).
        preactivation: bool. Whether activations stand before the weight layers
            of a branch (He et al., 2016b) rather than after them.
        role: `"branch"`, or one of `"stem"`, `"projection"` (a shortcut with
            weights), `"head"` (the classification layer) and `"trunk"` (any other),
            which lie outside the branches.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=9, layer=1)
    >>> site.is_last
    True
    """

    branch: int
    num_branches: int
    layer: int = 0
    branch_depth: int = 2
    preactivation: bool = False
    role: str = "branch"

    def __post_init__(self):
        check_positive_int("num_branches", self.num_branches)
        check_positive_int("branch_depth", self.branch_depth)
        check_positive_int("branch", self.branch, minimum=0)
        check_positive_int("layer", self.layer, minimum=0)
        check_choice("role", self.role, ROLES)
        if self.branch >= self.num_branches or self.layer >= self.branch_depth:
            raise ValueError(
                "`branch` and `layer` count from 0, so they must be smaller than "
                f"`num_branches` and `branch_depth`. Received: {self}"
            )

    @property
    def is_last(self):
        """Whether this is the last weight layer of a residual branch."""
        return self.role == "branch" and self.layer == self.branch_depth - 1


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What keeps a residual network trainable: one published method.

    A network asks its scheme the questions below and builds what it answers, so
    a new method is a subclass that overrides the answers it changes. Every
    answer is made of plain Keras objects, new ones at every call. Draws are
    seeded by the network, which gives each weight layer a seed of its own.

    The defaults describe He initialization alone. A subclass is a frozen
    dataclass whose fields are its arguments, registered with
    `keras.saving.register_keras_serializable`, under a package of its own: a
    scheme and its initializer may share a name.
    """

    # The string that `fixinit.schemes.get` knows the scheme by.
    name = None
    # Every branch is zero at initialization, so each block starts as the identity.
    starts_at_identity = False
    # A projecting or subsampling shortcut reads x + the branch's first bias.
    shifts_projection = False
    # Weight layers carry a bias vector. The classification layer always does.
    use_bias = True
    # The findings that the method is published to repair (`fixinit.schemes.remedies`
    # lists them), for which
    # `fixinit.diagnostics` names it.
    remedies: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for finding in cls.remedies:
            check_choice("remedies", finding, FINDINGS)

    def kernel_initializer(self, site):
        """The initializer of the weight layer at `site`."""
        return keras.initializers.HeNormal()

    def head_initializer(self):
        """The initializer of the classification layer."""
        return keras.initializers.LecunNormal()

    def before_activation(self, site):
        """Layers in front of the activation that belongs to `site`."""
        return []

    def before_weight(self, site):
        """Layers in front of the weight layer at `site`."""
        return []

    def after_branch(self, site):
        """Layers at the end of the residual branch whose last weight is `site`.

        Those that start it at zero are a `fixinit.layers.ScalarMultiplier` or a
        `keras.layers.BatchNormalization`, where `fixinit.convert` can open it: branches
        that hold others do not start at zero there.
        """
        return []

    def after_projection(self, site):
        """Layers behind the weight layer of a projecting shortcut."""
        return []

    def merge(self, site):
        """The layer that joins `[shortcut, branch]`."""
        return layers.ScaledAdd()

    def predicted_variance(self, num_branches, input_variance=1.0):
        """Variance of the activations after every block, in closed form.

        For ReLU blocks of equal shape in pre-activation order, dense or
        convolutional without zero padding, at infinite width. The variance is taken
        over weights and inputs. Since kernels have zero mean, it is what the mean
        square over a batch estimates, and what `fixinit.theory.predict` says.
        Elsewhere the two differ:

        * `padding="same"` reads zeros beyond the borders, which takes something
          from every branch. After 20 blocks of 3x3 convolutions `scaled_residual`
          has 0.83 of this variance on 8x8 positions, 0.96 on 32x32 and 0.99 on
          224x224; where branches weigh as much as shortcuts, as in `unnormalized`
          and `normalized_sum`, it is 0.18, 0.74 and 0.96.
        * In post-activation order the sum passes a ReLU, behind which it has a mean,
          and a distribution that changes from block to block. Only branches that
          start at zero keep the variance in both orders.

        Args:
            num_branches: int. Number of residual branches (L).
            input_variance: float. Variance of the first block's input.

        Returns:
            Array of shape `(num_branches + 1,)`: the input's variance, then that
            of every block's output.
        """
        check_positive_int("num_branches", num_branches)
        growth = [self._growth(branch, num_branches) for branch in range(num_branches)]
        # Exponential growth overflows to infinity, as the activations do.
        with np.errstate(over="ignore"):
            return input_variance * np.cumprod([1.0, *growth])

    def _growth(self, branch, num_branches):
        """The factor by which one block multiplies the variance.

        E[relu(x)^2] = E[x^2] / 2 and He's kernel variance 2 / fan_in make the
        variance of a branch equal to its input's: 1 + 1.
        """
        return 2.0

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        arguments = [field.name for field in dataclasses.fields(cls)]
        for key in config:
            check_choice(f"{cls.name} config", key, arguments)
        return cls(**config)
