"""ZerO initialization."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_positive_int
from fixinit.initializers.constant_kernel import (
    ConstantKernel,
    exponent_of,
    hadamard,
)


@keras.saving.register_keras_serializable("fixinit")
class ZerO(ConstantKernel):
    """ZerO's kernels of zeros and ones: identities, and Hadamard matrices to widen.

    For `inputs` and `outputs` channels, I the (rectangular) identity and H the Hadamard
    matrix of p rows, p the smallest power of two that is not below `outputs`:

        kernel = I                        where outputs <= inputs
        kernel = I H I / sqrt(p)          where outputs > inputs

    for dense layers, and at the centre of convolutions, which are 0 elsewhere. Nothing
    is drawn. The Hadamard matrix gives the new channels numbers of their own; with an
    identity they would be zero, and copies would never part. The last kernel of a
    branch and the head are zeros (`fixinit.schemes.ZerO`).

    Where the layer keeps its width, the signal stays as it is. Where it widens to a
    power of two, it keeps its norm: the mean square over channels is
    `inputs / outputs` times as large.

    Algorithms 1 and 2 of the paper have the constant `2^(-(m - 1) / 2)` for a Hadamard
    matrix of `2^m` rows, which would double squares; here it is `2^(-m / 2)`, as in the
    authors' code, so that the matrix is orthogonal.

    Example:

    >>> kernel = fixinit.initializers.ZerO()((2, 4))
    >>> keras.ops.convert_to_numpy(kernel).tolist()
    [[0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, -0.5]]

    Args:
        groups: int. That of a grouped convolution, 1 by default.
        depthwise: bool. Whether the kernel is that of a depthwise convolution, whose
            channels are groups of one. `False` by default.

    The shape is that of a kernel, `(inputs, outputs)` or
    `(*kernel_size, channels in, channels out)` with one to three spatial axes. Of an
    even kernel size k, the centre is at `(k - 1) // 2`, where `padding="same"` puts it.

    Raises:
        ValueError: If an argument is outside its range; when called, if the shape is
            neither, or its last axis not divisible by `groups`.

    Reference:

    - [Zhao, Schäfer and Anandkumar, 2022](https://arxiv.org/abs/2110.12661),
      algorithms 1 and 2.
    """

    @checked
    def __init__(self, groups: int = 1, depthwise: bool = False) -> None:
        self.groups = check_positive_int("groups", groups)
        self.depthwise = depthwise

    def matrix(self, inputs: int, outputs: int) -> np.ndarray:
        if outputs <= inputs:
            return np.eye(inputs, outputs)
        exponent = exponent_of(outputs)
        return hadamard(exponent)[:inputs, :outputs] / 2 ** (exponent / 2)

    def taken_channels(
        self, inputs: int, outputs: int
    ) -> tuple[float, Sequence[int]] | None:
        return (1.0, range(outputs)) if outputs <= inputs else None

    def get_config(self) -> dict[str, Any]:
        return {"groups": self.groups, "depthwise": self.depthwise}
