"""Delta-orthogonal convolution kernels."""

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
class DeltaOrthogonal(keras.initializers.Orthogonal):
    """An orthogonal matrix at the centre of a convolution kernel, zeros elsewhere.

    The convolution maps the channels of every position by one matrix Q with
    orthonormal rows,

        kernel[centre] = gain * Q,    Q Q^T = I,    kernel[elsewhere] = 0

    so that it keeps the norm of its input up to the factor `gain`, with strides of 1
    and `padding="same"`. Where it has fewer output than input channels, Q has
    orthonormal columns, `Q^T Q = I`, and keeps the mean square over channels, on the
    average over draws. Where it has more, `ScaledUniformOrthogonal` keeps that too.
    Networks of 10,000 convolutions without shortcuts or normalization were trained
    with it (and with tanh).

    Example:

    >>> initializer = fixinit.initializers.DeltaOrthogonal(seed=0)
    >>> kernel = keras.ops.convert_to_numpy(initializer((3, 3, 4, 8)))
    >>> bool(np.allclose(kernel[1, 1] @ kernel[1, 1].T, np.eye(4), atol=1e-5))
    True

    Args:
        gain: float. Factor of the orthogonal matrix, 1 by default. For ReLU that is
            `sqrt(2)`.
        seed: int or `keras.random.SeedGenerator`. An integer or `None` repeats the
            same values at every call: give each layer a seed of its own.

    The shape is that of a kernel, `(*kernel_size, channels in, channels out)`, with
    one to three spatial axes. Of an even kernel size k, the centre is at
    `(k - 1) // 2`, where `padding="same"` puts it.

    Raises:
        ValueError: If an argument is outside its range; when called, if the shape is
            not a convolution's.

    Reference:

    - [Xiao et al., 2018](https://arxiv.org/abs/1806.05393), algorithm 2.
    """

    def __init__(self, gain: float = 1.0, seed: Any = None) -> None:
        super().__init__(
            check_factor("gain", gain), check_initializer_seed("seed", seed)
        )

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        shape = check_known_shape("shape", shape, (3, 3, 16, 16))
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                "DeltaOrthogonal draws kernels of convolutions with one to three "
                f"spatial axes. Received: shape={shape}. For a Dense layer use "
                "keras.initializers.Orthogonal."
            )
        *space, channels, filters = shape
        return at_centre(super().__call__((channels, filters), dtype), space)
