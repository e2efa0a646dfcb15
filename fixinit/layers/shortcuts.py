"""Shortcuts of blocks that change the shape."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_bool, check_initializer, check_size
from fixinit.layers.facts import Facts
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class ZeroPaddingShortcut(keras.layers.Layer):
    """The shortcut without parameters: subsample, then append zero channels.

    Option A of He et al.: every `strides`-th position of every spatial axis is
    kept, and channels of zeros are appended until there are `filters`.

    Example:

    >>> layer = fixinit.layers.ZeroPaddingShortcut(filters=32, strides=2)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 16))).shape)
    (1, 4, 4, 32)

    Args:
        filters: int. Number of output channels, at least the input's.
        strides: int, at least 1. Step along every spatial axis, 1 by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, *space, channels)` with any number of spatial axes, none included.

    Output shape:
        `(batch, *ceil(space / strides), filters)`

    Raises:
        ValueError: If the input has more than `filters` channels, or no spatial
            axis to stride over.

    Reference:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385), section 3.3, option A.
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = check_size("filters", filters)
        self.strides = check_size("strides", strides)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        if channels is not None and channels > self.filters:
            raise ValueError(
                f"Layer `{self.name}` only adds channels: `filters` must be at "
                f"least {channels}, the channels of the input. Received: "
                f"filters={self.filters}. A ProjectionShortcut can reduce them."
            )
        _check_strides(self, input_shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        outputs = inputs
        if self.strides > 1:
            space = (slice(None, None, self.strides),) * (len(inputs.shape) - 2)
            outputs = outputs[(slice(None), *space)]
        missing = self.filters - inputs.shape[-1]
        if missing:
            padding = [(0, 0)] * (len(inputs.shape) - 1) + [(0, missing)]
            outputs = ops.pad(outputs, padding)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        space = (n and -(-n // self.strides) for n in input_shape[1:-1])
        return (input_shape[0], *space, self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "strides": self.strides}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("fixinit")
class ProjectionShortcut(keras.layers.Layer):
    """The shortcut with parameters: a strided 1x1 convolution.

    Option B of He et al. where the shape changes, option C everywhere. Without
    spatial axes it is a `Dense` layer.

    Example:

    >>> layer = fixinit.layers.ProjectionShortcut(filters=32, strides=2)
    >>> tuple(layer(keras.ops.ones((1, 8, 8, 16))).shape)
    (1, 4, 4, 32)

    Args:
        filters: int. Number of output channels.
        strides: int, at least 1. Step along every spatial axis, 1 by default.
        kernel_initializer: Initializer of the kernel, `"he_normal"` by default.
        use_bias: bool. Whether to add a trainable vector, `False` by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, *space, channels)` with up to three spatial axes.

    Output shape:
        `(batch, *ceil(space / strides), filters)`

    Raises:
        ValueError: If there is no spatial axis to stride over, or more than three.

    Reference:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385), section 3.3.
    """

    fixinit_facts = Facts(kernels=("kernel_initializer",))

    def __init__(
        self,
        filters: int,
        strides: int = 1,
        kernel_initializer: Identifier = "he_normal",
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = check_size("filters", filters)
        self.strides = check_size("strides", strides)
        self.kernel_initializer = check_initializer(
            "kernel_initializer", kernel_initializer
        )
        self.use_bias = check_bool("use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        _check_strides(self, input_shape)
        options = {
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            "dtype": self.dtype_policy,
            "name": "projection",
        }
        rank = len(input_shape) - 2
        if rank == 0:
            self.projection = keras.layers.Dense(self.filters, **options)
        else:
            convolution = convolution_class(rank)
            options["data_format"] = "channels_last"
            self.projection = convolution(
                self.filters, 1, strides=self.strides, **options
            )
        self.projection.build(input_shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        return self.projection(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        space = (n and -(-n // self.strides) for n in input_shape[1:-1])
        return (input_shape[0], *space, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "use_bias": self.use_bias,
        }


def convolution_class(rank: int) -> type:
    """The Keras convolution for inputs with `rank` spatial axes."""
    classes = {
        1: keras.layers.Conv1D,
        2: keras.layers.Conv2D,
        3: keras.layers.Conv3D,
    }
    if rank not in classes:
        raise ValueError(
            "Convolutions take inputs with one to three spatial axes. "
            f"Received: {rank} spatial axes."
        )
    return classes[rank]


def _check_strides(layer: Any, input_shape: Shape) -> None:
    if layer.strides > 1 and len(input_shape) < 3:
        raise ValueError(
            f"Layer `{layer.name}` has no spatial axis to stride over. Received: "
            f"strides={layer.strides}, input shape {tuple(input_shape)}."
        )
