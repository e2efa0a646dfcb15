"""Activations that are scaled and shifted to measure."""

import dataclasses
from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_activation, check_number
from fixinit.layers.configs import config_of
from fixinit.layers.facts import Facts, facts_of

_HALF = ("float16", "bfloat16")


@keras.saving.register_keras_serializable("fixinit")
class TailoredActivation(keras.layers.Layer):
    """An activation with constants in front of it and behind it.

        x = input_scale * inputs + input_shift
        outputs = output_scale * (phi(x) + output_shift)

    `fixinit.theory.tailored` chooses the constants for a network. They do not train. In
    half precision the function is computed in float32: it is the small difference of
    larger numbers, times a large one.

    Example:

    >>> layer = fixinit.layers.TailoredActivation("leaky_relu", negative_slope=0.5)
    >>> keras.ops.convert_to_numpy(layer(np.array([-2.0, 2.0]))).tolist()
    [-1.0, 2.0]

    Args:
        activation: phi: name, function, config or layer of a Keras activation that acts
            on every element by itself.
        negative_slope: float, that of a leaky ReLU below 0. Only for `"leaky_relu"` and
            `"relu"`, which are then one. By default `None`: phi as it is.
        input_scale, input_shift, output_shift, output_scale: floats. By default 1, 0,
            0 and 1.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If an argument is outside its range, or `negative_slope` is given
            for another activation.

    References:

    - [Martens et al., 2021](https://arxiv.org/abs/2110.01765), section 9 (DKS)
    - [Zhang et al., 2022](https://arxiv.org/abs/2203.08120), section 3 (TAT)
    """

    def __init__(
        self,
        activation: Identifier,
        negative_slope: float | None = None,
        input_scale: float = 1.0,
        input_shift: float = 0.0,
        output_shift: float = 0.0,
        output_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = _activation(activation)
        self.negative_slope = negative_slope
        if negative_slope is not None:
            self.negative_slope = check_number("negative_slope", negative_slope)
            if rectifier_slope(self.activation) is None:
                raise ValueError(
                    "Argument `negative_slope` is for leaky ReLUs. Received: "
                    f"negative_slope={negative_slope}, activation={activation!r}. "
                    "Leave it out, or pass activation='leaky_relu'."
                )
        self.input_scale = check_number("input_scale", input_scale)
        self.input_shift = check_number("input_shift", input_shift)
        self.output_shift = check_number("output_shift", output_shift)
        self.output_scale = check_number("output_scale", output_scale)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.built = True

    def fixinit_facts(self) -> Facts:
        facts = facts_of(self.activation)
        slope, is_rectifier = self.negative_slope, facts.flat
        if slope is not None:
            is_rectifier = slope == 0
        return dataclasses.replace(
            facts, activates=True, flat=is_rectifier, bounded=False, follows_head=False
        )

    def fixinit_plain(self) -> keras.layers.Layer:
        if isinstance(self.activation, keras.layers.Layer):
            config = {**config_of(self.activation), "name": self.name}
            return type(self.activation).from_config(config)
        return keras.layers.Activation(
            self.activation, name=self.name, dtype=self.dtype_policy
        )

    def call(self, inputs: Tensor) -> Tensor:
        if not hasattr(inputs, "dtype"):
            inputs = ops.convert_to_tensor(inputs)
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            dtype = self.compute_dtype
        is_half = dtype in _HALF
        x = ops.cast(inputs, "float32" if is_half else dtype)
        if self.input_scale != 1:
            x = x * self.input_scale
        if self.input_shift:
            x = x + self.input_shift
        if self.negative_slope is None:
            x = self.activation(x)
        else:
            x = ops.leaky_relu(x, self.negative_slope)
        if self.output_shift:
            x = x + self.output_shift
        if self.output_scale != 1:
            x = x * self.output_scale
        return ops.cast(x, dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": _serialized(self.activation),
            "negative_slope": self.negative_slope,
            "input_scale": self.input_scale,
            "input_shift": self.input_shift,
            "output_shift": self.output_shift,
            "output_scale": self.output_scale,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TailoredActivation":
        given = config["activation"]
        if isinstance(given, dict):
            given = keras.saving.deserialize_keras_object(given)
        return cls(**{**config, "activation": given})


def rectifier_slope(activation: Any) -> float | None:
    """The slope of a ReLU or a leaky ReLU below 0; `None` for anything else."""
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    if isinstance(activation, TailoredActivation):
        return None
    if isinstance(activation, keras.layers.LeakyReLU):
        return float(activation.negative_slope)
    if isinstance(activation, keras.layers.ReLU):
        plain = activation.max_value is None and not activation.threshold
        return float(activation.negative_slope) if plain else None
    slopes = {keras.activations.relu: 0.0, keras.activations.leaky_relu: 0.2}
    slopes |= {keras.ops.relu: 0.0, keras.ops.leaky_relu: 0.2}
    return next((s for known, s in slopes.items() if activation is known), None)


def _activation(value: Any) -> Any:
    """A function of Keras, or a layer, which stays one."""
    if isinstance(value, keras.layers.Activation):
        return value.activation
    if isinstance(value, keras.layers.Layer):
        return value
    return check_activation("activation", value)


def _serialized(activation: Any) -> Any:
    if isinstance(activation, keras.layers.Layer):
        return keras.saving.serialize_keras_object(activation)
    return keras.activations.serialize(activation)
