import dataclasses

import keras
import numpy as np

from fixinit import layers
from fixinit._checked import check_fields
from fixinit.schemes import _pointwise
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import constant


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class Derf(Scheme):
    """Derf: dynamic error function in the place of layer normalization.

        x + F(gamma * erf(alpha x + s) + beta),    and the same behind the last block

    A bounded function of every number squashes outliers as layer normalization does,
    without a statistic of the token: see `fixinit.layers.DynamicErf`. Kernels are
    drawn as the model has them. `fixinit.convert` puts the function where a layer,
    group or root mean square normalization was, or, in models without any, at the start
    of every branch and behind the last block. It refuses batch normalization, as the
    authors found worse results in its place.

    Example:

    >>> model = fixinit.models.ResidualMLP(2, 8, scheme="derf")
    >>> [layer.name for layer in model.get_layer("block1").branch][:2]
    ['branch_dynamic_erf', 'activation1']

    Args:
        alpha: float, not 0. Start of alpha, 0.5 by default.

    Raises:
        ValueError: If `alpha` is 0 or not finite; from `fixinit.convert`, for batch
            normalization, unit normalization, and normalization over several axes.

    Reference:

    - [Chen et al., 2025](https://arxiv.org/abs/2512.10938)
    """

    alpha: float = 0.5

    name = "derf"
    use_bias = None
    refuses_batch_norm = True

    def __post_init__(self) -> None:
        check_fields(self)
        _pointwise.check_alpha(self.alpha)

    def draw(self, site: Site) -> None:
        return None

    def branch_start(self, site: Site) -> list[keras.layers.Layer]:
        return [layers.DynamicErf(alpha_initializer=constant(self.alpha))]

    def network_end(self, site: Site) -> list[keras.layers.Layer]:
        return self.branch_start(site)

    def normalization(
        self, site: Site, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        options = _pointwise.options_of(self, layer)
        return [layers.DynamicErf(alpha_initializer=constant(self.alpha), **options)]

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        return _pointwise.predicted_variance(
            "erf", self.alpha, num_branches, input_variance
        )
