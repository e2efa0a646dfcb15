import dataclasses

import keras

from fixinit.schemes._normalized import PreNormalizedScheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class PreLayerNorm(PreNormalizedScheme):
    """Pre-layer normalization (pre-LN): the standard of today's Transformers.

        x + F(LN(x)),    and LN(x) behind the last block

    Each branch that keeps variances adds one unit, so that the variance grows linearly:
    after branch l it is that of the input plus l. Kernels are drawn as the model has
    them.

    Example:

    >>> fixinit.schemes.PreLayerNorm().predicted_variance(4).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]

    Args:
        epsilon: float, positive. Added to the variance before its square root.

    Raises:
        ValueError: If `epsilon` is not positive.

    References:

    - [Ba et al., 2016](https://arxiv.org/abs/1607.06450)
    - [Xiong et al., 2020](https://arxiv.org/abs/2002.04745)
    """

    name = "pre_layer_norm"
