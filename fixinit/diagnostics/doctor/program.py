"""Training program: a model, its data, what it minimizes, and by which optimizer."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from fixinit import _keras
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
        """The one that layers with a state of each sample need, `None` without such.

        A `Sequential` model has one that its first batch has given it, and takes any.
        """
        layers = _keras.flatten_layers(self.subject.model)
        if not any(getattr(layer, "stateful", False) for layer in layers):
            return None
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
    count: int | None = None,
) -> Program:
    """Checks the arguments of `diagnose`; `count` samples are measured, or all.

    A model that is not built is built on the shapes of `x`, as `fit` does.
    """
    subject = Subject(model, _built_on(model, _first(x, count)))
    arrays, y = check_batch(subject, x, y, loss)
    given = sample_weights(subject, arrays, y, sample_weight, class_weight)
    return Program(subject, arrays, y, loss, given, training, holds_one_array(x))


def _first(x: Any, count: int | None) -> Any:
    """The first samples of all arrays: models are opened and compared on them."""
    if not all(getattr(array, "shape", ()) for array in tree.flatten(x)):
        return x
    return tree.map_structure(lambda array: array[:count], x)


def _built_on(model: keras.Model, x: Any) -> Any:
    """The samples, on whose shape a `Sequential` model is built that is not yet."""
    shape = getattr(x, "shape", ())
    if isinstance(model, keras.Sequential) and not model.built and len(shape) > 1:
        model.build((None, *shape[1:]))
    return x


def holds_one_array(x: Any) -> bool:
    """Whether inputs are one array, which remedies may index and rescale."""
    return not isinstance(x, (list, tuple, dict))
