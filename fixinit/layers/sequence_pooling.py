"""One vector of a sequence of vectors."""

from typing import Any

import keras
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Shape, Tensor
from fixinit._validation import check_choice, check_positive_int
from fixinit.layers.facts import Facts
from fixinit.layers.sequences import checked_mask

POOLINGS = ("first", "average")


@keras.saving.register_keras_serializable("fixinit")
class SequencePooling(keras.layers.Layer):
    """The first vector of a sequence, or the average of those behind the first few.

    Vectors that are masked count for neither.

    Example:

    >>> x = np.array([[[1.0], [2.0], [4.0]]])
    >>> first, average = (
    ...     fixinit.layers.SequencePooling(pooling, skip=1)(x)
    ...     for pooling in ("first", "average")
    ... )
    >>> float(first[0, 0]), float(average[0, 0])
    (1.0, 3.0)

    Args:
        pooling: `"first"`, as of a class token, or `"average"`.
        skip: int, at least 0 (default). How many of the first are no part of the
            average.
        **kwargs: The arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, length, channels)`.
        mask: Boolean tensor `(batch, length)`, `False` for padding. By default the one
            that Keras has attached to `inputs`.

    Output shape:
        `(batch, channels)`.

    Raises:
        ValueError: If an argument is outside its range; for masks of other shapes, and
            sequences of which all is left out.
    """

    fixinit_facts = Facts(linear=True, follows_head=True)

    @checked
    def __init__(self, pooling: str, skip: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.skip = check_positive_int("skip", skip, minimum=0)
        self.supports_masking = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        length = inputs.shape[1]
        if self.pooling == "average" and length is not None and length <= self.skip:
            raise ValueError(
                f"`{self.name}` leaves out the first {self.skip}. Received: sequences "
                f"of {length}"
            )
        if mask is not None:
            mask = checked_mask(self.name, inputs, mask)
            return self._of_seen(inputs, ops.cast(mask, "int32")[:, :, None])
        if self.pooling == "first":
            return inputs[:, 0]
        return ops.mean(inputs[:, self.skip :], axis=1)

    def _of_seen(self, inputs: Tensor, seen: Tensor) -> Tensor:
        """The same for sequences of which some vectors count, those with a 1."""
        place = ops.cumsum(seen, axis=1) * seen
        if self.pooling == "first":
            return ops.sum(inputs * ops.cast(place == 1, inputs.dtype), axis=1)
        # Half precision holds no sums.
        counted = ops.cast(place > self.skip, "float32")
        number = ops.maximum(ops.sum(counted, axis=1), 1)
        total = ops.sum(ops.cast(inputs, "float32") * counted, axis=1)
        return ops.cast(total / number, inputs.dtype)

    def compute_mask(self, inputs: Tensor, mask: Any = None) -> None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling, "skip": self.skip}
