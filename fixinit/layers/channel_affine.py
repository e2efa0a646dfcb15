"""Scales and shifts of channels without statistics."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import (
    check_axis,
    check_axis_of,
    check_bool,
    check_initializer,
)
from fixinit.layers.channels import along_axis


@keras.saving.register_keras_serializable("fixinit")
class ChannelAffine(keras.layers.Layer):
    """Multiplies every channel by a trainable number and adds another.

    `outputs = gamma * inputs + beta`, both of shape `(channels,)`: batch normalization
    with constant statistics. `centered` takes away the mean of the channels before:
    layer normalization with a constant standard deviation.

    Example:

    >>> layer = fixinit.layers.ChannelAffine()
    >>> x = keras.ops.ones((2, 3))
    >>> bool(keras.ops.all(layer(x) == x))
    True

    Args:
        axis: int. The axis of the channels, the last one by default.
        gamma_initializer: Initializer of the scales, `"ones"` by default.
        beta_initializer: Initializer of the shifts, `"zeros"` by default.
        centered: bool. Whether `inputs - mean(inputs)`, over the channels, is scaled;
            `False` by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If `axis` is the batch axis, or the inputs have no such axis.

    Reference:

    - [Touvron et al., 2021](https://arxiv.org/abs/2105.03404), section 2
    - [Baroni et al., 2025](https://arxiv.org/abs/2507.02559) (`centered`)
    """

    def __init__(
        self,
        axis: int = -1,
        gamma_initializer: Identifier = "ones",
        beta_initializer: Identifier = "zeros",
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.centered = check_bool("centered", centered)
        self.axis = check_axis("axis", axis)
        self.gamma_initializer = check_initializer(
            "gamma_initializer", gamma_initializer
        )
        self.beta_initializer = check_initializer("beta_initializer", beta_initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_axis_of("axis", self.axis, input_shape, self.name)
        shape = (input_shape[self.axis],)
        self.gamma = self.add_weight(
            name="gamma", shape=shape, initializer=self.gamma_initializer
        )
        self.beta = self.add_weight(
            name="beta", shape=shape, initializer=self.beta_initializer
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        gamma, beta = (
            ops.cast(along_axis(v, inputs, self.axis), inputs.dtype)
            for v in (self.gamma, self.beta)
        )
        if self.centered:
            inputs = inputs - ops.mean(inputs, axis=self.axis, keepdims=True)
        return inputs * gamma + beta

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "axis": self.axis,
            "gamma_initializer": serialize(self.gamma_initializer),
            "beta_initializer": serialize(self.beta_initializer),
            "centered": self.centered,
        }
