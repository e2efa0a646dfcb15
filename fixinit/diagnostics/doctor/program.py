"""Training program: a model, its data, what it minimizes, and by which optimizer."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit._typing import Identifier
from fixinit.diagnostics._shared.sample_weights import sample_weights
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch


@dataclasses.dataclass(frozen=True)
class Program:
    """Training program that is examined, checked.

    Attributes:
        subject: `Subject`, the model.
        x: List of arrays, one for each input.
        y: Targets in the structure of the outputs, or `None`.
        loss: As `diagnose` takes it.
        given: Weights of the samples, as `sample_weights` gives them.
        training: bool. Whether layers run in training mode.
        is_array: bool. Whether `x` was given as one array, and not in a list or dict.
    """

    subject: Subject
    x: Sequence[np.ndarray]
    y: Any = None
    loss: Identifier | None = None
    given: Any = None
    training: bool = True
    is_array: bool = True

    def __len__(self) -> int:
        return len(self.x[0])

    @property
    def batch_size(self) -> int | None:
        """The one that the model is built for, `None` if it takes any."""
        return self.subject.inputs[0].shape[0]

    def first(self, count: int) -> "Program":
        """The program on its first samples."""
        return self._picked(lambda array: array[:count])

    def at(self, indices: np.ndarray) -> "Program":
        """The program on some of its samples."""
        return self._picked(lambda array: array[indices])

    def without_targets(self) -> "Program":
        """The program without a loss."""
        return dataclasses.replace(self, y=None, given=None)

    def _picked(self, pick: Callable[[np.ndarray], np.ndarray]) -> "Program":
        y, given = (
            None if value is None else tree.map_structure(pick, value)
            for value in (self.y, self.given)
        )
        x = [pick(array) for array in self.x]
        return dataclasses.replace(self, x=x, y=y, given=given)


def program_of(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Identifier | None = None,
    training: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Program:
    """Checks the arguments of `diagnose`."""
    subject = Subject(model, x)
    arrays, y = check_batch(subject, x, y, loss)
    given = sample_weights(subject, arrays, y, sample_weight, class_weight)
    return Program(subject, arrays, y, loss, given, training, holds_one_array(x))


def holds_one_array(x: Any) -> bool:
    """Whether inputs are one array, which remedies may index and rescale."""
    return not isinstance(x, (list, tuple, dict))
