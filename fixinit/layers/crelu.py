"""Concatenated ReLU."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_axis, check_axis_of


@keras.saving.register_keras_serializable("fixinit")
class CReLU(keras.layers.Layer):
    """Concatenated ReLU: the positive and the negative part, side by side.

    `outputs = concatenate([relu(inputs), relu(-inputs)])`

    Nothing is lost: `inputs` is the first half of the outputs minus the second. The
    next weight layer has twice the channels to read, and starts as a linear map of
    `inputs` if `fixinit.initializers.LooksLinear` draws its kernel.

    Example:

    >>> layer = fixinit.layers.CReLU()
    >>> keras.ops.convert_to_numpy(layer(np.array([[2.0, -3.0]]))).tolist()
    [[2.0, 0.0, 0.0, 3.0]]

    Args:
        axis: int. The axis of the channels, the last (-1) by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any with such an axis.

    Output shape:
        Same as the input shape, with twice the length of `axis`.

    Raises:
        ValueError: If `axis` is the batch axis, or the inputs have no such axis.

    References:

    - [Shang et al., 2016](https://arxiv.org/abs/1603.05201)
    - [Balduzzi et al., 2017](https://arxiv.org/abs/1702.08591), section 4.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = check_axis("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_axis_of("axis", self.axis, input_shape, self.name)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        return ops.concatenate([ops.relu(inputs), ops.relu(-inputs)], axis=self.axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        size = shape[self.axis]
        shape[self.axis] = None if size is None else 2 * size
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
