"""Root mean square normalization through which masks pass."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("fixinit")
class RMSNormalization(keras.layers.RMSNormalization):
    """`keras.layers.RMSNormalization`, through which masks pass.

        outputs = gamma * inputs / sqrt(mean(inputs^2) + epsilon)

    Keras's drops them, so that attention behind it would look at padding.

    Example:

    >>> layer = fixinit.layers.RMSNormalization()
    >>> round(float(layer(keras.ops.full((1, 2), 3.0))[0, 0]), 4)
    1.0

    Args:
        **kwargs: The arguments of `keras.layers.RMSNormalization`.

    Reference:

    - [Zhang and Sennrich, 2019](https://arxiv.org/abs/1910.07467)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
