"""Scalars that meet tensors."""

import keras
from keras import ops

from fixinit.backend.compilation import under_xla


def spread(scalar, x):
    """`scalar` in a shape that broadcasts to that of `x`.

    XLA, as TensorFlow has it, adds up a tensor to a scalar element by element. There
    the scalar becomes a vector as long as the last axis of `x`, by a matrix product:
    then its gradient is a sum over rows, which runs on vectors, and a matrix product.
    """
    size = x.shape[-1] if len(x.shape) > 1 else None
    if keras.backend.backend() != "tensorflow" or size is None or not under_xla():
        return scalar
    row = ops.ones((1, size), scalar.dtype)
    return ops.reshape(ops.matmul(ops.reshape(scalar, (1, 1)), row), (size,))
