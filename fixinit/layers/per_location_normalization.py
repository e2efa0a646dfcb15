"""Normalization of data, location by location."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_axis, check_axis_of, check_choice, check_number
from fixinit.layers.facts import Facts

COORDINATES = ("one", "average", None)
_HALF = ("float16", "bfloat16")
_TINY = 1e-30


@keras.saving.register_keras_serializable("fixinit")
class PerLocationNormalization(keras.layers.Layer):
    """Divides the channels of every location by their root mean square (PLN).

        h = [inputs, c]
        outputs = h / sqrt(mean(h^2))        over the channels, at every location

    A coordinate c is appended to the channels first, so that the size of the inputs is
    not lost. The layer is for data, in front of the first weight layer: DKS and TAT are
    derived for inputs of mean square 1 at every location. It has no weights, and no
    statistic of a batch. Vectors without axes of space are one location each.

    Example:

    >>> layer = fixinit.layers.PerLocationNormalization()
    >>> y = keras.ops.convert_to_numpy(layer(np.array([[[3.0, 4.0], [0.0, 0.0]]])))
    >>> y.shape, np.mean(y**2, axis=-1).round(6).tolist()
    ((1, 2, 3), [[1.0, 1.0]])

    Args:
        coordinate: What is appended: `"one"` (default), `"average"`, the root mean
            square of the whole sample, or `None`, nothing. Without a coordinate, a
            vector of zeros stays one.
        scale: float, positive. Factor of the coordinate, 1 by default.
        axis: int. The axis of the channels, the last (-1) by default.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any with such an axis.

    Output shape:
        Same as the input shape, with one channel more if there is a coordinate.

    Raises:
        ValueError: If an argument is outside its range, the inputs have no such axis,
            or `"average"` is asked for vectors, of which it tells nothing.

    Reference:

    - [Martens et al., 2021](https://arxiv.org/abs/2110.01765), "Uniform q values via
      Per-Location Normalization"
    """

    # Such layers stay when normalization is taken out: they are part of the data.
    fixinit_facts = Facts(elementwise=True)

    def __init__(
        self,
        coordinate: str | None = "one",
        scale: float = 1.0,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.coordinate = None
        if coordinate is not None:
            self.coordinate = check_choice("coordinate", coordinate, COORDINATES)
        self.scale = check_number("scale", scale, "a positive number", lambda x: x > 0)
        self.axis = check_axis("axis", axis)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        check_axis_of("axis", self.axis, input_shape, self.name)
        if self.coordinate == "average" and len(input_shape) < 3:
            raise ValueError(
                "Argument `coordinate` must be 'one' or None for inputs without axes "
                f"of space, which are one location each. Received: coordinate="
                f"'average' and inputs of shape {tuple(input_shape)}"
            )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        is_half = keras.backend.standardize_dtype(inputs.dtype) in _HALF
        x = ops.cast(inputs, "float32") if is_half else inputs
        if self.coordinate is not None:
            x = ops.concatenate([x, self._coordinate(x)], axis=self.axis)
        square = ops.mean(ops.square(x), axis=self.axis, keepdims=True)
        outputs = x * ops.rsqrt(ops.maximum(square, _TINY))
        return ops.cast(outputs, inputs.dtype) if is_half else outputs

    def _coordinate(self, x: Tensor) -> Tensor:
        one = ops.ones_like(ops.take(x, ops.array([0]), axis=self.axis))
        if self.coordinate == "average":
            axes = tuple(range(1, len(x.shape)))
            one = one * ops.sqrt(ops.mean(ops.square(x), axis=axes, keepdims=True))
        return self.scale * one

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        size = shape[self.axis]
        if size is not None and self.coordinate is not None:
            shape[self.axis] = size + 1
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "coordinate": self.coordinate,
            "scale": self.scale,
            "axis": self.axis,
        }
