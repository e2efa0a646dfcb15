"""Draws of an initializer that are scaled to what its variance promises."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Identifier, Tensor
from fixinit._validation import check_initializer, check_known_shape, check_number


@keras.saving.register_keras_serializable("fixinit")
class Corrected(keras.initializers.Initializer):
    """Multiplies one draw of an initializer by what makes up for its deviation.

        weights = factor * initializer(shape)

    One draw of a narrow kernel gives signals some percent more or less than its
    variance promises. The factor takes that back for the seed that it was measured at,
    so that the variance over draws, as `fixinit.theory.weight_moments` has it, is that
    of the initializer. `fixinit.convert` draws so where activations and gates amplify
    deviations. `Rescaled` changes the variance.

    Example:

    >>> he = keras.initializers.HeNormal(seed=3)
    >>> initializer = fixinit.initializers.Corrected(he, factor=0.97)
    >>> mean, variance = fixinit.theory.weight_moments(initializer, (50, 10))
    >>> variance
    0.04

    Args:
        initializer: Keras initializer with a seed, or what `keras.initializers.get`
            takes.
        factor: float, not negative.

    Raises:
        ValueError: If `factor` is negative or not finite.
    """

    def __init__(self, initializer: Identifier, factor: float) -> None:
        self.initializer = check_initializer("initializer", initializer)
        self.factor = check_number("factor", factor, "at least 0", lambda x: x >= 0)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        shape = check_known_shape("shape", shape, (16, 8), 0)
        return self.factor * self.initializer(shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "factor": self.factor,
        }
