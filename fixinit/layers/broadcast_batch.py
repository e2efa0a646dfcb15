"""The same value for every input of a batch."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Shape, Tensor
from fixinit.layers.facts import Facts


@keras.saving.register_keras_serializable("fixinit")
class BroadcastBatch(keras.layers.Layer):
    """Layer that repeats a value for every input of a batch.

    In graphs, it stands for `keras.ops.broadcast_to(x, (batch_size, ...))`, as of a
    class token, where the batch size is not known.

    Example:

    >>> layer = fixinit.layers.BroadcastBatch((3,))
    >>> token, batch = keras.ops.ones((1, 3)), keras.ops.zeros((5, 2))
    >>> tuple(layer([token, batch]).shape)
    (5, 3)

    Args:
        shape: Tuple of ints, the shape of the output without the batch axis.
        **kwargs: The arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: List of two tensors: the value, which can be broadcast to the output's
            shape, and any tensor with the batch axis in front.

    Output shape:
        `(batch_size, *shape)`.
    """

    fixinit_facts = Facts(constant=True)

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, like = inputs
        return keras.ops.broadcast_to(x, (keras.ops.shape(like)[0], *self.shape))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        x, like = inputs
        return keras.KerasTensor((like.shape[0], *self.shape), x.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape}
