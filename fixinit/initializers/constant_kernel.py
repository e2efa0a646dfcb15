"""Kernels that are one constant matrix for every group of channels."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fixinit._typing import Tensor
from fixinit._validation import check_known_shape
from fixinit.initializers._centre import at_centre


class ConstantKernel(keras.initializers.Initializer):
    """Base of initializers whose kernels hold one matrix at their centre.

    Of the matrix nothing, or next to nothing, is drawn. Kernels have the shape
    `(*kernel_size, channels in, channels out)` with up to three spatial axes; the
    channels in are those of one group.
    """

    groups: int
    depthwise: bool

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        dtype = keras.backend.standardize_dtype(dtype)
        shape = check_known_shape("shape", shape, (3, 3, 16, 16))
        self._check(shape)
        *space, inputs, outputs = shape
        if self.depthwise:
            matrix = np.repeat(self.matrix(1, outputs), inputs, axis=0)
        else:
            matrix = self.matrix(inputs, outputs // self.groups)
            matrix = np.tile(matrix, (1, self.groups))
        kernel = at_centre(ops.convert_to_tensor(matrix, dtype), space)
        return self.perturbed(kernel)

    def _check(self, shape: tuple[int, ...]) -> None:
        name = type(self).__name__
        if not 2 <= len(shape) <= 5:
            raise ValueError(
                f"{name} makes kernels (inputs, outputs) of dense layers, or of "
                "convolutions with one to three spatial axes. Received: "
                f"shape={shape}. Use keras.initializers.Orthogonal."
            )
        if not self.depthwise and shape[-1] % self.groups:
            raise ValueError(
                f"{name} makes a kernel for {self.groups} groups of channels, into "
                f"which the last axis cannot be divided. Received: shape={shape}. "
                "Argument `groups` must be that of the layer."
            )

    def matrix(self, inputs: int, outputs: int) -> np.ndarray:
        """The matrix from so many channels to so many others."""
        raise NotImplementedError

    def perturbed(self, kernel: Tensor) -> Tensor:
        """The kernel with a little noise, as it is by default."""
        return kernel

    def taken_channels(
        self, inputs: int, outputs: int
    ) -> tuple[float, Sequence[int]] | None:
        """The channels that the matrix takes as they are, and the factor of all.

        Returns:
            `(gain, channels)`, one channel for each output, or `None` where outputs
            add some up.
        """
        raise NotImplementedError


def hadamard(exponent: int) -> np.ndarray:
    """Sylvester's Hadamard matrix of `2**exponent` rows: entries 1 and -1."""
    matrix = np.ones((1, 1))
    for _ in range(exponent):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def exponent_of(size: int) -> int:
    """The exponent of the smallest power of two that is not below `size`."""
    return (size - 1).bit_length()
