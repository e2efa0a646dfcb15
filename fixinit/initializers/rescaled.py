"""Rescaled draws of an initializer."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_initializer, check_known_shape, check_number


@keras.saving.register_keras_serializable("fixinit")
class Rescaled(keras.initializers.Initializer):
    """Multiplies the draws of another initializer by a constant.

        weights = gain * initializer(shape)

    so that the variance is `gain**2` times as large. It takes an initializer to layers
    that it was not derived for: Keras counts the fan of depthwise kernels over all
    channels, of which each output reads one.

    Example:

    >>> initializer = fixinit.initializers.Rescaled("ones", gain=3.0)
    >>> float(keras.ops.sum(initializer((2, 2))))
    12.0

    Args:
        initializer: Keras initializer, or what `keras.initializers.get` takes.
        gain: float, not negative.

    Raises:
        ValueError: If `gain` is negative or not finite.
    """

    def __init__(self, initializer: Identifier, gain: float) -> None:
        self.initializer = check_initializer("initializer", initializer)
        self.gain = check_number("gain", gain, "at least 0", lambda x: x >= 0)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        shape = check_known_shape("shape", shape, (16, 8), 0)
        return self.gain * self.initializer(shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "gain": self.gain,
        }
