import dataclasses

import keras
import numpy as np

from fixinit import layers
from fixinit._validation import MOST_BRANCHES, check_positive_int, check_variance
from fixinit.schemes._normalized import PreNormalizedScheme
from fixinit.schemes.site import Site


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class LayerNormScaling(PreNormalizedScheme):
    """Layer normalization, scaled down with depth (LNS).

        x + F(LN(x) / sqrt(l)),    l the number of the block, from 1

    Under `PreLayerNorm` the variance grows with depth, so that late branches add little
    to what they read. Here block l adds `1 / l`, and the variance grows as its
    logarithm. In converted networks every sum of branches counts as a block. Kernels
    are drawn as the model has them; the authors leave out smaller draws of the last
    ones, which `fixinit.models.LanguageModel` has.

    Example:

    >>> scheme = fixinit.schemes.LayerNormScaling()
    >>> scheme.predicted_variance(4).round(2).tolist()
    [1.0, 2.0, 2.5, 2.83, 3.08]

    Args:
        epsilon: float, positive. Added to the variance before its square root.

    Raises:
        ValueError: If `epsilon` is not positive.

    Reference:

    - [Sun et al., 2025](https://arxiv.org/abs/2502.05795)
    """

    name = "layer_norm_scaling"
    depends_on_branch = True

    def branch_start(self, site: Site) -> list[keras.layers.Layer]:
        scale = layers.BranchInputScale((site.block + 1) ** -0.5)
        return [*super().branch_start(site), scale]

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        """Branch l of a network of one branch a block adds `1 / l`."""
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        check_variance("input_variance", input_variance)
        added = np.cumsum(1 / np.arange(1.0, num_branches + 1))
        return np.array([input_variance, *(input_variance + added)])
