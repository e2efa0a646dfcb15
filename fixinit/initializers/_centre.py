"""Convolution kernels that are one matrix at their centre."""

from collections.abc import Sequence

from keras import ops

from fixinit._typing import Tensor


def at_centre(matrix: Tensor, space: Sequence[int]) -> Tensor:
    """A kernel of some spatial sizes: a matrix at its centre, zeros elsewhere.

    Of an even size k, the centre is at `(k - 1) // 2`, where `padding="same"` puts it.
    """
    matrix = ops.reshape(matrix, (*(1 for _ in space), *matrix.shape))
    # What lies in front of the centre, and behind it.
    padding = [((size - 1) // 2, size // 2) for size in space]
    return ops.pad(matrix, [*padding, (0, 0), (0, 0)])
