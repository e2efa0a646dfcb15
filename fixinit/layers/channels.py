"""Weights of channels, in the shape in which they broadcast."""

from typing import Any

from keras import ops

from fixinit._typing import Tensor


def along_axis(weight: Any, inputs: Tensor, axis: int) -> Tensor:
    """A weight of shape `(channels,)`, whose axis is that of the inputs' channels.

    Args:
        weight: Variable or tensor.
        inputs: Tensor.
        axis: int. The axis of its channels.

    Returns:
        Tensor of as many axes as the inputs, of size 1 but for `axis`.
    """
    shape = [1] * len(inputs.shape)
    shape[axis] = inputs.shape[axis]
    return ops.reshape(weight, shape)
