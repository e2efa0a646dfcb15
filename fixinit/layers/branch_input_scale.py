"""The constant factor of what a residual branch reads."""

from typing import Any

import keras

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_number
from fixinit.layers.facts import Facts
from fixinit.layers.scalars import check_float


@keras.saving.register_keras_serializable("fixinit")
class BranchInputScale(keras.layers.Layer):
    """Multiplies what a branch reads by a constant: `outputs = scale * inputs`.

    It belongs to the scheme of the branch, as `1 / beta_l` of normalizer-free networks:
    `fixinit.convert` takes it out, which it does with no `keras.layers.Rescaling`.

    Example:

    >>> layer = fixinit.layers.BranchInputScale(0.5)
    >>> float(keras.ops.mean(layer(keras.ops.ones((1, 2)))))
    0.5

    Args:
        scale: float. The factor.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If `scale` is not finite, or the inputs are not floating-point.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2101.08692), section 3.
    """

    fixinit_facts = Facts(scales_branch=True, linear=True)

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = check_number("scale", scale)
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        check_float(self.name, inputs)
        return inputs * keras.ops.cast(self.scale, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
