import dataclasses

import keras

from fixinit import initializers, layers
from fixinit._validation import check_choice
from fixinit.schemes.scheme import Scheme

MODES = ("fixed", "trainable", "folded")


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

    def __post_init__(self):
        initializers.residual_scale(self.scale, num_branches=1)
        check_choice("mode", self.mode, MODES)

    def kernel_initializer(self, site):
        if self.mode == "folded" and site.is_last:
            return initializers.ScaledResidual(
                site.num_branches, self.scale, self._branch(site)
            )
        return super().kernel_initializer(site)

    def after_branch(self, site):
        if self.mode != "trainable":
            return []
        factor = keras.initializers.Constant(self._factor(site))
        return [layers.ScalarMultiplier(factor)]

    def merge(self, site):
        if self.mode != "fixed":
            return super().merge(site)
        return layers.ScaledAdd(branch_scale=self._factor(site))

    def _factor(self, site):
        return initializers.residual_scale(
            self.scale, site.num_branches, self._branch(site)
        )

    def _branch(self, site):
        # Networks stack blocks where no answer depends on the branch.
        return site.branch if self.scale == "decreasing" else 0

    def _growth(self, branch, num_branches):
        factor = initializers.residual_scale(self.scale, num_branches, branch)
        return 1.0 + factor**2
