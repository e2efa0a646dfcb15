import dataclasses

import keras

from fixinit import layers
from fixinit.schemes._normalized import PreNormalizedScheme


@keras.saving.register_keras_serializable("fixinit.schemes")
@dataclasses.dataclass(frozen=True)
class PreRMSNorm(PreNormalizedScheme):
    """Root mean square normalization in front of every branch, as in Llama.

        x + F(gamma * x / rms(x)),    and the same behind the last block

    It is `PreLayerNorm` without a mean that is taken away, and without a shift.

    Example:

    >>> fixinit.schemes.PreRMSNorm().predicted_variance(4).tolist()
    [1.0, 2.0, 3.0, 4.0, 5.0]

    Args:
        epsilon: float, positive. Added to the mean square before its root.

    Raises:
        ValueError: If `epsilon` is not positive.

    References:

    - [Zhang and Sennrich, 2019](https://arxiv.org/abs/1910.07467)
    - [Touvron et al., 2023](https://arxiv.org/abs/2302.13971) (Llama)
    """

    name = "pre_rms_norm"

    def _layer(self) -> keras.layers.Layer:
        return layers.RMSNormalization(epsilon=self.epsilon)
