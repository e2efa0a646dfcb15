import dataclasses

import keras

from fixinit.schemes._normalized import PostNormalizedScheme
from fixinit.schemes.site import SUMMED_ROLES, Site
from fixinit.schemes.start import Start


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class DeepNorm(PostNormalizedScheme):
    """DeepNorm: post-layer normalization with larger shortcuts and smaller kernels.

        LN(L^(1/4) x + F(x))

    L is the number of branches, two for each of N blocks, so that `L^(1/4)` is the
    authors' `(2N)^(1/4)`. Kernels are drawn by Glorot normal initialization, in
    branches times `(4L)^(-1/4)` but for those of queries and keys. So one step of
    training changes the network's function by a constant, whatever the depth.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=16)
    >>> fixinit.schemes.DeepNorm().start(site).shortcut_scale
    2.0

    Args:
        epsilon: float, positive. Added to the variance before its square root.

    Raises:
        ValueError: If `epsilon` is not positive.

    Reference:

    - [Wang et al., 2022](https://arxiv.org/abs/2203.00555), figure 2.
    """

    name = "deep_norm"
    remedies = ("exploding", "exploding_gradients")

    def start(self, site: Site) -> Start:
        return Start(shortcut_scale=site.num_branches**0.25)

    def draw(self, site: Site) -> keras.initializers.Initializer:
        scale = (4 * site.num_branches) ** -0.5 if site.role in SUMMED_ROLES else 1.0
        return keras.initializers.VarianceScaling(
            scale, "fan_avg", "untruncated_normal"
        )
