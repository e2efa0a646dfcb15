"""Jumps of a loss and of the weights during training."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor

# Next to the largest of late, what is a jump.
_JUMP = 2.0


class Peaks:
    """The largest values of late of a quantity that is seen step by step."""

    def __init__(self) -> None:
        # The largest since the last regular measurement, and between the two before.
        self._peaks: list[float] | None = None

    def start_window(self) -> None:
        """Forgets what was before the last regular measurement."""
        if self._peaks is not None:
            self._peaks = [-math.inf, self._peaks[0]]

    def is_large(self, value: float) -> bool:
        """Whether a value is twice the largest of late, or no number."""
        if self._peaks is None:
            self._peaks = [value, value]
        # NaN compares as false, and is a jump.
        jumps = not value <= _JUMP * abs(max(self._peaks))
        if not math.isnan(value):
            self._peaks[0] = max(self._peaks[0], value)
        return jumps


class Losses(Peaks):
    """Losses of batches, from the means over an epoch's batches that `fit` logs.

    Attributes:
        last: float. Loss of the last batches.
    """

    last = math.nan

    def start_epoch(self) -> None:
        self._done, self._mean = 0, 0.0

    def jump(self, done: int, mean: float) -> bool:
        """Whether the loss of the last batches is large, or no number.

        Args:
            done: int. Batches of this epoch so far.
            mean: float. The mean of their losses.
        """
        count = done - self._done
        loss = (done * mean - self._done * self._mean) / max(count, 1)
        self._done, self._mean, self.last = done, mean, loss
        return self.is_large(loss)


class WeightNorm:
    """Norm of all trainable weights of a model, compiled once.

    Args:
        variables: List of the trainable variables.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = list(variables)
        self._norm = backend.norm_function(self._variables)

    def is_of(self, variables: Sequence[keras.Variable]) -> bool:
        """Whether it is the norm of these variables, in this order."""
        return list(map(id, variables)) == list(map(id, self._variables))

    def __call__(self) -> float:
        return self._norm()


def step_size(new: list[Tensor], old: list[Tensor]) -> float:
    """Norm of a step from old to new weights, relative to that of the old ones."""
    pairs = [
        [
            np.asarray(ops.convert_to_numpy(ops.cast(w, "float32")), "float64")
            for w in pair
        ]
        for pair in zip(new, old, strict=True)
    ]
    step = math.hypot(*(float(np.linalg.norm(b - a)) for b, a in pairs))
    norm = math.hypot(*(float(np.linalg.norm(a)) for _, a in pairs))
    if not norm:
        return math.inf if step else 0.0
    return step / norm
