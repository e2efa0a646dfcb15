"""Scales of channels at the end of a branch."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_axis, check_axis_of, check_initializer
from fixinit.layers.channels import along_axis
from fixinit.layers.facts import Facts
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class ChannelMultiplier(keras.layers.Layer):
    """Multiplies every channel by a trainable number of its own.

    `outputs = gamma * inputs`, where `gamma` has shape `(channels,)`: at the end of a
    branch it is LayerScale's multiplier, which starts at a small constant.

    Example:

    >>> layer = fixinit.layers.ChannelMultiplier(keras.initializers.Constant(0.5))
    >>> layer(keras.ops.ones((1, 3))).shape == (1, 3), layer.count_params()
    (True, 3)

    Args:
        initializer: Initializer of the multipliers, `"ones"` by default.
        axis: int. The axis of the channels, the last one by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If `axis` is the batch axis, if the inputs have no such axis, or if
            they are not floating-point.

    Reference:

    - [Touvron et al., 2021](https://arxiv.org/abs/2103.17239), section 2.
    """

    fixinit_facts = Facts(scales_branch=True, linear=True, start="initializer")

    def __init__(
        self, initializer: Identifier = "ones", axis: int = -1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.initializer = check_initializer("initializer", initializer)
        self.axis = check_axis("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_axis_of("axis", self.axis, input_shape, self.name)
        self.gamma = self.add_weight(
            name="gamma",
            shape=(input_shape[self.axis],),
            initializer=self.initializer,
            # Cast to half precision, 1e-6 would be off by percents, and its gradient
            # too small to hold.
            autocast=False,
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        gamma = along_axis(self.gamma, inputs, self.axis)
        # In the precision of gamma: products of half precision would vanish.
        outputs = ops.cast(inputs, self.gamma.dtype) * gamma
        return ops.cast(outputs, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
            "axis": self.axis,
        }
