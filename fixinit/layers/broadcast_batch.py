"""The same value for every input of a batch."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit._typing import Shape, Tensor
from fixinit._validation import check_known_shape
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

    Raises:
        ValueError: If `shape` is no shape, or the inputs are not two.
    """

    fixinit_facts = Facts(constant=True)

    def __init__(self, shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = check_known_shape("shape", shape, (1, 64), 0)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, like = self._two(inputs)
        return keras.ops.broadcast_to(x, (keras.ops.shape(like)[0], *self.shape))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        x, like = self._two(inputs)
        return keras.KerasTensor((like.shape[0], *self.shape), x.dtype)

    def _two(self, inputs: Any) -> tuple[Any, Any]:
        if isinstance(inputs, (list, tuple)) and len(inputs) == 2:
            if self._fits(inputs[0].shape, inputs[1].shape):
                return inputs[0], inputs[1]
        raise ValueError(
            f"Argument `inputs` of layer `{self.name}` must be a value that can be "
            f"broadcast to {self.shape} behind the batch, and a tensor with the batch "
            f"axis. Received: inputs={inputs}"
        )

    def _fits(self, given: Shape, like: Shape) -> bool:
        """Whether a shape can be broadcast to the output's; unknown sizes may fit."""
        wanted = (like[0], *self.shape)[-len(given) :] if len(given) else ()
        return len(given) == len(wanted) and all(
            n is None or m is None or n in (1, m)
            for n, m in zip(given, wanted, strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape}
