"""Kernels that take channels as they are."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import initializers
from fixinit.initializers.constant_kernel import ConstantKernel
from fixinit.theory.errors import NoRuleError


def identity_kernel(
    initializer: Any, inputs: int, outputs: int
) -> tuple[float, Sequence[int]] | None:
    """The channels that a kernel takes, and the factor of all of them.

    Args:
        initializer: Keras initializer.
        inputs, outputs: ints, numbers of channels.

    Returns:
        `(gain, channels)`, one channel for each output, or `None` for kernels that do
        something else.
    """
    if isinstance(initializer, initializers.Rescaled):
        inner = identity_kernel(initializer.initializer, inputs, outputs)
        return None if inner is None else (initializer.gain * inner[0], inner[1])
    if isinstance(initializer, initializers.Corrected):
        return identity_kernel(initializer.initializer, inputs, outputs)
    if isinstance(initializer, keras.initializers.Identity) and inputs == outputs:
        return initializer.gain, range(outputs)
    if not isinstance(initializer, ConstantKernel):
        return None
    if initializer.groups != 1 or initializer.depthwise:
        return None
    return initializer.taken_channels(inputs, outputs)


def check_independent(initializer: Any) -> None:
    """Refuses the kernels whose weights cannot stand for independent ones."""
    while isinstance(initializer, (initializers.Corrected, initializers.Rescaled)):
        initializer = initializer.initializer
    if isinstance(initializer, ConstantKernel):
        raise NoRuleError(
            f"No variance rule for the constant kernels of {type(initializer).__name__}"
            " but where a dense layer or a convolution without groups takes channels "
            'as they are. Use fixinit.theory.predict(model, unknown="measure").'
        )
