"""Looks-linear initialization."""

import copy
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Tensor
from fixinit._validation import (
    check_initializer,
    check_initializer_seed,
    check_known_shape,
)


@keras.saving.register_keras_serializable("fixinit")
class LooksLinear(keras.initializers.Initializer):
    """Draws mirrored kernels, with which a layer behind `CReLU` starts linear.

    The input channels come in two halves, relu(x) and relu(-x). For a kernel W that
    `initializer` draws for the first half,

        kernel = [W, -W],    kernel^T CReLU(x) = W^T relu(x) - W^T relu(-x) = W^T x

    so that a network of such layers is linear at the start, and its gradients do
    not shatter. Training breaks the mirror symmetry.

    Example:

    >>> initializer = fixinit.initializers.LooksLinear(seed=0)
    >>> layer = keras.layers.Dense(3, kernel_initializer=initializer)
    >>> x = np.array([[1.0, -2.0], [-2.0, 4.0]])
    >>> outputs = layer(fixinit.layers.CReLU()(x))
    >>> bool(keras.ops.all(keras.ops.isclose(outputs[1], -2 * outputs[0])))
    True

    Args:
        initializer: Keras initializer of W, `"orthogonal"` by default, which keeps
            norms. It sees the kernel's shape with half the input channels.
        seed: int or `keras.random.SeedGenerator`, which takes the place of the
            seed of `initializer`. An integer or `None` repeats the same values at
            every call: give each layer a seed of its own.

    The shape is that of a kernel, `(..., channels in, channels out)`.

    Raises:
        ValueError: When called, if the shape has fewer than two axes or an odd
            number of input channels.

    Reference:

    - [Balduzzi et al., 2017](https://arxiv.org/abs/1702.08591), section 4.
    """

    def __init__(
        self, initializer: Identifier = "orthogonal", seed: Any = None
    ) -> None:
        self.initializer = check_initializer("initializer", initializer)
        seed = check_initializer_seed("seed", seed)
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        self._init_seed = seed
        if seed is not None:
            self.seed = seed

    @property
    def seed(self) -> Any:
        return getattr(self.initializer, "seed", None)

    @seed.setter
    def seed(self, seed: Any) -> None:
        # A copy: others may hold the initializer as well.
        self.initializer = copy.copy(self.initializer)
        self.initializer.seed = seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        shape = check_known_shape("shape", shape, (16, 8))
        if len(shape) < 2 or shape[-2] % 2:
            raise ValueError(
                "LooksLinear draws kernels of layers behind a CReLU, which have an "
                f"even number of input channels. Received: shape={shape}. Put a "
                "fixinit.layers.CReLU in front of the layer."
            )
        *rest, channels, filters = shape
        half = self.initializer((*rest, channels // 2, filters), dtype=dtype)
        return ops.concatenate([half, -half], axis=-2)

    def get_config(self) -> dict[str, Any]:
        return {
            "initializer": keras.initializers.serialize(self.initializer),
            "seed": keras.saving.serialize_keras_object(self._init_seed),
        }
