"""Positions and class tokens, added to sequences of vectors."""

from typing import Any

import keras
from keras import ops

from fixinit._typing import Identifier, Shape, Tensor
from fixinit._validation import check_bool, check_initializer, check_positive_int
from fixinit.layers.facts import Facts
from fixinit.layers.self_attention import positions
from fixinit.layers.sequences import check_sequences, checked_mask


@keras.saving.register_keras_serializable("fixinit")
class PositionEmbedding(keras.layers.Layer):
    """Adds a vector for every position: `outputs_t = inputs_t + table_t`.

    Positions count from the first element that is not masked.

    Example:

    >>> layer = fixinit.layers.PositionEmbedding(16, initializer="ones")
    >>> x = keras.ops.zeros((1, 3, 4))
    >>> float(keras.ops.sum(layer(x)))
    12.0

    Args:
        length: int. The most positions of a sequence.
        initializer: Initializer of the table, by default normal with a standard
            deviation of 0.02.
        learned: bool. Whether the table trains (default).
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, length, channels)`.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If the sequences are longer than `length`.

    Reference:

    - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """

    fixinit_facts = Facts(elementwise=True)

    def __init__(
        self,
        length: int,
        initializer: Identifier = None,
        learned: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learned = check_bool("learned", learned)
        self.length = check_positive_int("length", length)
        if initializer is None:
            initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.initializer = check_initializer("initializer", initializer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.check_length(input_shape)
        self.table = self.add_weight(
            name="table",
            shape=(self.length, input_shape[-1]),
            initializer=self.initializer,
            trainable=self.learned,
        )
        self.built = True

    def check_length(self, shape: Shape) -> None:
        """Refuses what is no sequence, and one of more positions than there are."""
        check_sequences(self.name, shape)
        if shape[1] is not None and shape[1] > self.length:
            raise ValueError(
                f"`{self.name}` has {self.length} positions. Received: sequences of "
                f"{shape[1]}. Cut them, or make the model with more positions."
            )

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        self.check_length(tuple(inputs.shape))
        table = ops.cast(self.table, inputs.dtype)
        if mask is not None:
            mask = checked_mask(self.name, inputs, mask)
            return inputs + ops.take(table, positions(inputs, mask), axis=0)
        size = inputs.shape[1]
        if size is None:
            return inputs + ops.take(table, positions(inputs, None), axis=0)
        return inputs + table[None, :size]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "length": self.length,
            "initializer": keras.initializers.serialize(self.initializer),
            "learned": self.learned,
        }


@keras.saving.register_keras_serializable("fixinit")
class ClassToken(keras.layers.Layer):
    """Puts one trained vector in front of every sequence.

    Example:

    >>> layer = fixinit.layers.ClassToken()
    >>> tuple(layer(keras.ops.ones((2, 3, 4))).shape)
    (2, 4, 4)

    Args:
        initializer: Initializer of the vector, by default normal with a standard
            deviation of 1e-6.
        **kwargs: The arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, length, channels)`.

    Output shape:
        `(batch, length + 1, channels)`.

    Reference:

    - [Dosovitskiy et al., 2020](https://arxiv.org/abs/2010.11929)
    """

    fixinit_facts = Facts(elementwise=True)

    def __init__(self, initializer: Identifier = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if initializer is None:
            initializer = keras.initializers.RandomNormal(stddev=1e-6)
        self.initializer = check_initializer("initializer", initializer)

    def build(self, input_shape: Shape) -> None:
        check_sequences(self.name, input_shape)
        self.token = self.add_weight(
            name="token", shape=(1, 1, input_shape[-1]), initializer=self.initializer
        )
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        batch = ops.shape(inputs)[0]
        token = ops.cast(self.token, inputs.dtype)
        tokens = ops.broadcast_to(token, (batch, 1, inputs.shape[-1]))
        return ops.concatenate([tokens, inputs], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        batch, length, channels = input_shape
        return batch, None if length is None else length + 1, channels

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": initializer}
