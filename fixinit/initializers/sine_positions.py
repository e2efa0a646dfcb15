"""Sines and cosines of positions."""

from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit._typing import Shape, Tensor


@keras.saving.register_keras_serializable("fixinit")
class SinePositions(keras.initializers.Initializer):
    """Sines and cosines of positions, for tables of shape `(length, d)`.

    Channel 2i of position t is `sin(t r_i)`, channel 2i + 1 `cos(t r_i)`, with
    `r_i = 10000^(-2i / d)`. Nothing is drawn.

    Example:

    >>> table = fixinit.initializers.SinePositions()((2, 4))
    >>> [[round(float(x), 2) for x in row] for row in table]
    [[0.0, 1.0, 0.0, 1.0], [0.84, 0.54, 0.01, 1.0]]

    Raises:
        ValueError: When called, if the shape is none of a table.

    Reference:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), section 3.5.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        if len(shape) != 2 or None in shape:
            raise ValueError(
                "Argument `shape` must be (length, channels). Received: "
                f"shape={tuple(shape)}"
            )
        length, width = (int(n or 0) for n in shape)
        at = np.arange(length)[:, None]
        channels = np.arange(width)
        angles = at * 10_000.0 ** (-(channels // 2 * 2) / width)
        table = np.where(channels % 2 == 0, np.sin(angles), np.cos(angles))
        return ops.convert_to_tensor(table, dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {}
