"""Orthogonal kernels that keep mean squares whatever their shape."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Tensor
from fixinit._validation import (
    check_factor,
    check_initializer_seed,
    check_known_shape,
)
from fixinit.initializers._centre import at_centre


@keras.saving.register_keras_serializable("fixinit")
class ScaledUniformOrthogonal(keras.initializers.Orthogonal):
    """A uniformly drawn orthogonal matrix, scaled up where a layer widens.

        kernel = gain * max(sqrt(outputs / inputs), 1) * Q

    Where a layer narrows or keeps its width, Q has orthonormal columns, where it widens
    orthonormal rows. So the mean square over the outputs is `gain**2` times that over
    the inputs: exactly where the layer does not narrow, elsewhere on the average over
    draws. Kernels of convolutions hold the matrix at their centre and zeros elsewhere,
    so that every position keeps its mean square. DKS and TAT ask for it, with
    zero biases.

    Example:

    >>> initializer = fixinit.initializers.ScaledUniformOrthogonal(seed=0)
    >>> kernel = keras.ops.convert_to_numpy(initializer((3, 3, 4, 8)))
    >>> bool(np.allclose(kernel[1, 1] @ kernel[1, 1].T, 2 * np.eye(4), atol=1e-5))
    True

    Args:
        gain: float. Factor on top of the scale, 1 by default.
        seed: int or `keras.random.SeedGenerator`. An integer or `None` repeats the
            same values at every call: give each layer a seed of its own.

    The shape is that of a kernel, `(inputs, outputs)` or
    `(*kernel_size, channels in, channels out)` with one to three spatial axes. Of an
    even kernel size k, the centre is at `(k - 1) // 2`, where `padding="same"` puts it.

    Raises:
        ValueError: If an argument is outside its range; when called, if the shape is
            neither.

    References:

    - [Martens et al., 2021](https://arxiv.org/abs/2110.01765), "Parameter
      distributions"
    - [Xiao et al., 2018](https://arxiv.org/abs/1806.05393), algorithm 2
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(
            check_factor("gain", gain), check_initializer_seed("seed", seed)
        )

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        shape = check_known_shape("shape", shape, (3, 3, 16, 16))
        if not 2 <= len(shape) <= 5:
            raise ValueError(
                "ScaledUniformOrthogonal draws kernels (inputs, outputs) of dense "
                "layers, or of convolutions with one to three spatial axes. "
                f"Received: shape={shape}. Use keras.initializers.Orthogonal."
            )
        *space, inputs, outputs = shape
        dtype = keras.backend.standardize_dtype(dtype)
        # Backends have no QR decomposition in half precision.
        is_half = dtype in ("float16", "bfloat16")
        matrix = super().__call__((inputs, outputs), "float32" if is_half else dtype)
        scale = max(math.sqrt(outputs / inputs), 1.0)
        return at_centre(keras.ops.cast(matrix * scale, dtype), space)
