"""Gated linear units over given weight layers."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._checked import checked
from fixinit._typing import Shape, Tensor
from fixinit.layers.block_configs import without_build


@keras.saving.register_keras_serializable("fixinit")
class GatedUnit(keras.layers.Layer):
    """Product of what two weight layers make of the inputs, one of them activated.

        outputs = activation(gate(inputs)) * up(inputs)

    With SiLU it is SwiGLU, the first half of the MLP in Llama.

    Example:

    >>> unit = fixinit.layers.GatedUnit(
    ...     gate=keras.layers.Dense(8, name="gate"),
    ...     up=keras.layers.Dense(8, name="up"),
    ...     activation=[keras.layers.Activation("silu")],
    ... )
    >>> tuple(unit(keras.ops.ones((2, 3, 4))).shape)
    (2, 3, 8)

    Args:
        gate, up: Keras layers whose outputs have one shape.
        activation: List of Keras layers, called one after the other.
        **kwargs: The arguments of `keras.layers.Layer`.

    Raises:
        ValueError: When built, if `gate` and `up` give other shapes.

    Reference:

    - [Shazeer, 2020](https://arxiv.org/abs/2002.05202)
    """

    @checked
    def __init__(
        self,
        gate: keras.layers.Layer,
        up: keras.layers.Layer,
        activation: Sequence[keras.layers.Layer],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gate, self.up, self.activation = gate, up, list(activation)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        for layer in (self.gate, self.up):
            if not layer.built:
                layer.build(input_shape)
        shapes = [
            layer.compute_output_shape(input_shape) for layer in (self.gate, self.up)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"`gate` and `up` of `{self.name}` must give one shape. Received: "
                f"{shapes[0]} and {shapes[1]}"
            )
        for layer in self.activation:
            if not layer.built:
                layer.build(shapes[0])
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        x = self.gate(inputs)
        for layer in self.activation:
            x = layer(x)
        return x * self.up(inputs)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return tuple(self.up.compute_output_shape(tuple(input_shape)))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "gate": without_build(serialize(self.gate)),
            "up": without_build(serialize(self.up)),
            "activation": [without_build(serialize(x)) for x in self.activation],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GatedUnit":
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        for name in ("gate", "up"):
            config[name] = deserialize(config[name])
        config["activation"] = [deserialize(x) for x in config["activation"]]
        return cls(**config)
