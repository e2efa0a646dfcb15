import dataclasses

import keras

from fixinit import layers
from fixinit.schemes._pointwise import PointwiseScheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class DyT(PointwiseScheme):
    """DyT: dynamic tanh in the place of layer normalization.

        x + F(gamma * tanh(alpha x) + beta),    and the same behind the last block

    A bounded function of every number squashes outliers as layer normalization does,
    without a statistic of the token: see `fixinit.layers.DynamicTanh`. Kernels are
    drawn as the model has them. `fixinit.convert` puts the function where a layer,
    group or root mean square normalization was, or, in models without any, at the start
    of every branch and behind the last block. It refuses batch normalization, as the
    authors found worse results in its place.

    Example:

    >>> model = fixinit.models.ResidualMLP(2, 8, scheme="dyt")
    >>> [layer.name for layer in model.get_layer("block1").branch][:2]
    ['branch_dynamic_tanh', 'activation1']

    Args:
        alpha: float, not 0. Start of alpha, 0.5 by default.

    Raises:
        ValueError: If `alpha` is 0 or not finite; from `fixinit.convert`, for batch
            normalization, unit normalization, and normalization over several axes.

    Reference:

    - [Zhu et al., 2025](https://arxiv.org/abs/2503.10622)
    """

    name = "dyt"
    kind = layers.DynamicTanh
    function = "tanh"
