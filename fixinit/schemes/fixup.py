import dataclasses

import keras

from fixinit import initializers, layers, optimizers
from fixinit._checked import check_fields
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start


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
    The scalars train at a tenth of the learning rate: see `optimizer` and
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
        zero_head: bool. Whether the classification layer starts at 0, `True` by
            default. Losses that compare outputs (contrastive, triplet) or
            differentiate them (gradient penalty) need `False`: at zero they have no
            gradient, or none that is finite. It is drawn by LeCun initialization
            then.

    Raises:
        ValueError: If `mode` or `distribution` is unknown, or `zero_head` is no bool.

    Reference:

    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 3.
    """

    mode: str = "fan_out"
    distribution: str = "untruncated_normal"
    zero_head: bool = True

    name = "fixup"
    remedies = ("exploding", "exploding_gradients", "collapsed")
    shifts_projection = True
    # Rule 3's scalars take the place of bias vectors.
    use_bias = False
    optimizer_rules = (optimizers.Rule("scalar", learning_rate=0.1),)

    def __post_init__(self) -> None:
        check_fields(self)
        initializers.Fixup(1, 2, self.mode, self.distribution)

    def start(self, site: Site) -> Start:
        return Start(0.0, by="kernel")

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "head":
            return keras.initializers.Zeros() if self.zero_head else super().draw(site)
        if not site.is_in_branch:
            return keras.initializers.VarianceScaling(2.0, self.mode, self.distribution)
        return initializers.Fixup(
            site.num_branches, site.branch_depth, self.mode, self.distribution
        )

    def before_activation(self, site: Site) -> list[keras.layers.Layer]:
        return [layers.ScalarBias()]

    def before_weight(self, site: Site) -> list[keras.layers.Layer]:
        return [] if site.role in ("stem", "embedding") else [layers.ScalarBias()]

    def branch_end(self, site: Site) -> list[keras.layers.Layer]:
        return [layers.ScalarMultiplier(), layers.ScalarBias()]
