"""One vector of a sequence of vectors."""

from typing import Any

import keras
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Shape, Tensor
from fixinit._validation import check_choice, check_positive_int
from fixinit.layers.facts import Facts

POOLINGS = ("first", "average")


@keras.saving.register_keras_serializable("fixinit")
class SequencePooling(keras.layers.Layer):
    """The first vector of a sequence, or the average of those behind the first few.

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

    Input shape:
        `(batch, length, channels)`.

    Output shape:
        `(batch, channels)`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    fixinit_facts = Facts(linear=True, follows_head=True)

    @checked
    def __init__(self, pooling: str, skip: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = check_choice("pooling", pooling, POOLINGS)
        self.skip = check_positive_int("skip", skip, minimum=0)

    def call(self, inputs: Tensor) -> Tensor:
        if self.pooling == "first":
            return inputs[:, 0]
        return ops.mean(inputs[:, self.skip :], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return input_shape[0], input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling, "skip": self.skip}
