import dataclasses

import keras

from fixinit import initializers, layers
from fixinit.schemes.scheme import Scheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class Fixup(Scheme):
    """Fixup initialization: trains residual networks at any depth.

    1. The classification layer and the last weight layer of every branch
       start at 0.
    2. Every other weight layer starts with He initialization; those inside
       branches are scaled by `L^(-1 / (2m - 2))`.
    3. A scalar bias stands before every weight layer and activation, and a
       scalar multiplier at the end of every branch.

    Every branch starts at zero, so the variance stays what it is at the input.
    The scalars train at a tenth of the learning rate:
    `fixinit.optimizers.with_scalar_learning_rate`.

    As in the authors' code, no bias stands before the stem, whose input is the
    data, and shortcuts that change the shape read the input plus the branch's
    first bias.

    Example:

    >>> scheme = fixinit.schemes.Fixup()
    >>> site = fixinit.schemes.Site(branch=0, num_branches=54)
    >>> float(scheme.kernel_initializer(site).scale) == 2 / 54
    True

    Args:
        mode: Fan mode of the initializer, `"fan_out"` by default.
        distribution: `"untruncated_normal"` by default.

    Raises:
        ValueError: If `mode` or `distribution` is unknown.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 3.
    """

    mode: str = "fan_out"
    distribution: str = "untruncated_normal"

    name = "fixup"
    remedies = ("exploding", "exploding_gradients", "collapsed")
    starts_at_identity = True
    shifts_projection = True
    # Rule 3's scalars take the place of bias vectors.
    use_bias = False

    def __post_init__(self):
        initializers.Fixup(1, 2, self.mode, self.distribution)

    def kernel_initializer(self, site):
        if site.role != "branch":
            return keras.initializers.VarianceScaling(2.0, self.mode, self.distribution)
        # Of a branch with one weight layer that is all: rule 2 has nothing to scale.
        if site.is_last:
            return keras.initializers.Zeros()
        return initializers.Fixup(
            site.num_branches, site.branch_depth, self.mode, self.distribution
        )

    def head_initializer(self):
        return keras.initializers.Zeros()

    def before_activation(self, site):
        return [layers.ScalarBias()]

    def before_weight(self, site):
        return [] if site.role == "stem" else [layers.ScalarBias()]

    def after_branch(self, site):
        return [layers.ScalarMultiplier(), layers.ScalarBias()]

    def _growth(self, branch, num_branches):
        return 1.0
