import dataclasses

import keras

from fixinit import initializers
from fixinit._checked import check_fields
from fixinit._validation import check_choice
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import Start

# What carries the factor in each mode.
MODES = {"fixed": "merge", "trainable": "multiplier", "folded": "kernel"}


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class ScaledResidual(Scheme):
    """Residual branches scaled down with depth: `x + a_l * F(x)`.

    Block l multiplies the variance by `1 + a_l^2`. With `a = 1 / sqrt(L)` the
    product stays below e at any depth.

    Example:

    >>> scheme = fixinit.schemes.ScaledResidual()
    >>> bool(scheme.predicted_variance(10_000)[-1] < 2.7183)
    True

    Args:
        scale: `"inverse_sqrt"` (default), `"inverse"`, `"decreasing"` or a
            positive number: see `fixinit.initializers.residual_scale`.
        mode: `"fixed"` (default) multiplies every branch by a constant,
            `"trainable"` by a scalar that starts there, `"folded"` draws the
            branch's last kernel that much smaller instead.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Hayou et al., 2021](https://arxiv.org/abs/2010.12859)
    """

    scale: str | float = "inverse_sqrt"
    mode: str = "fixed"

    name = "scaled_residual"
    remedies = ("exploding", "exploding_gradients", "collapsed")

    def __post_init__(self) -> None:
        initializers.residual_scale(self.scale, num_branches=1)
        check_fields(self)
        check_choice("mode", self.mode, tuple(MODES))

    @property
    def depends_on_branch(self) -> bool:
        return self.scale == "decreasing"

    def start(self, site: Site) -> Start:
        branch = site.branch if self.depends_on_branch else 0
        scale = initializers.residual_scale(self.scale, site.num_branches, branch)
        return Start(scale, MODES[self.mode])
