import dataclasses

import keras

from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import SUMMED_ROLES, Site


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class TFixup(Scheme):
    """T-Fixup: Transformers without normalization, and without a warmup.

        x + F(x)

    Kernels are drawn by Glorot uniform initialization, in branches times
    `0.67 N^(-1/4)` but for those of queries and keys; N is the number of blocks, two
    branches each. Embeddings are drawn with the standard deviation
    `d^(-1/2)` for vectors of width d. The authors train with Adam.

    They have `(9N)^(-1/4)` for decoders with attention to an encoder, three branches a
    block, and scale the embeddings of such models by it, too. Blocks of two branches
    are those of their encoder, whatever the mask.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=32, role="value")
    >>> initializer = fixinit.schemes.TFixup().kernel_initializer(site)
    >>> round(initializer.scale**0.5, 4)  # 0.67 * 16^(-1/4)
    0.335

    Reference:

    - [Huang et al., 2020](https://proceedings.mlr.press/v119/huang20f.html), section 4.
    """

    name = "t_fixup"
    use_bias = None
    draws_embeddings = True
    remedies = ("exploding", "exploding_gradients")

    def draw(self, site: Site) -> keras.initializers.Initializer:
        if site.role == "embedding":
            # Of tables of vectors, the fan out is their width.
            return keras.initializers.VarianceScaling(
                1.0, "fan_out", "untruncated_normal"
            )
        scale = _gain(site) ** 2 if site.role in SUMMED_ROLES else 1.0
        return keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")

    def variance_factor(self, site: Site) -> float:
        """Each of m square kernels keeps half of `gain^2` behind an activation."""
        return 1 + (_gain(site) ** 2 / 2) ** site.branch_depth


def _gain(site: Site) -> float:
    return float(0.67 * (site.num_branches / 2) ** -0.25)
