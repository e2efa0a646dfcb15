"""Coordinate check: the sizes of activations over the width, as a model trains."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import _keras, graph
from fixinit._checked import checked
from fixinit._typing import Identifier, Tensor
from fixinit._validation import MOST_SAMPLES, check_positive_int
from fixinit.diagnostics._shared.stateless import stateless
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.geometry.weight_function import WeightFunction


@dataclasses.dataclass(frozen=True, eq=False)
class CoordinateCheck:
    """Mean sizes of the entries of activations, by width and step.

    Example:

    >>> sizes = np.ones((2, 1, 1))
    >>> updates = np.array([[[0.5]], [[1.0]]])
    >>> check = fixinit.diagnostics.CoordinateCheck((8, 16), ("out",), sizes, updates)
    >>> check.exponents.round(6).tolist()
    [[1.0]]

    Attributes:
        widths: Tuple of ints.
        names: Tuple of strings, the layers with weights, as the first model names them.
        sizes: Array of shape `(len(widths), steps + 1, len(names))`: mean |h| of the
            outputs, at initialization and after every step.
        updates: Array of shape `(len(widths), steps, len(names))`: mean |h - h_0|, with
            h_0 at initialization.
    """

    widths: tuple[int, ...]
    names: tuple[str, ...]
    sizes: np.ndarray
    updates: np.ndarray

    @property
    def exponents(self) -> np.ndarray:
        """Array `(steps, len(names))`: the p that fits `updates ~ width^p` best.

        Near 0 where a learning rate transfers between widths; about 1 where updates
        grow in proportion to the width; infinite or NaN where nothing moves.
        """
        log = np.log(self.widths) - np.mean(np.log(self.widths))
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.log(self.updates)
            return np.tensordot(log, moved, 1) / np.sum(log**2)


@checked
def coordinate_check(
    make_model: Callable[[int], keras.Model],
    widths: Sequence[int],
    x: Any,
    y: Any,
    steps: int = 3,
    optimizer: Identifier | None = None,
    loss: Identifier | None = None,
    training: bool = False,
) -> CoordinateCheck:
    """Measures how activations move at several widths, in the first steps of training.

    In the maximal update parametrization (muP) the entries of every activation move by
    as much at every width, so that learning rates transfer; in the standard one Adam
    moves them in proportion to the width.

    Example:

    >>> def make_model(width):
    ...     return fixinit.models.ResidualMLP(2, width, input_shape=(8,), seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 8)).astype("float32")
    >>> found = fixinit.diagnostics.coordinate_check(
    ...     make_model, (16, 64), x, np.arange(8), steps=2, optimizer="adam"
    ... )
    >>> found.sizes.shape[:2], found.updates.shape[:2]
    ((2, 3), (2, 2))

    Args:
        make_model: Callable from a width to a built model, the same but for the width.
            Models stay as they are.
        widths: Two or more ints.
        x: Batch of inputs, on which all steps are taken.
        y: Their targets.
        steps: int. Number of steps.
        optimizer: Keras optimizer, or its name, which starts anew at every width. By
            default that which each model is compiled with.
        loss: As `diagnose` takes it.
        training: bool. Whether layers run in training mode.

    Returns:
        `CoordinateCheck`.

    Raises:
        TypeError: If the optimizer cannot be copied, or if the model has no graph.
        ValueError: If there are fewer than two widths, no optimizer, or models that
            differ in their layers.

    Reference:

    - [Yang et al., 2022](https://arxiv.org/abs/2203.03466), appendix D.1.
    """
    check_positive_int("steps", steps, maximum=MOST_SAMPLES)
    widths = tuple(widths)
    if len(set(widths)) < 2:
        raise ValueError(
            "Argument `widths` must hold two widths or more, which are compared. "
            f"Received: widths={widths}"
        )
    names: list[tuple[str, ...]] = []
    found = []
    for width in widths:
        model = make_model(width)
        by = model.optimizer if optimizer is None and model.compiled else optimizer
        if by is None:
            raise ValueError(
                "Argument `optimizer` must be a Keras optimizer or its name, as the "
                f"model of width {width} is not compiled. Received: optimizer=None"
            )
        coordinates = _Coordinates(model, x, y, loss, training)
        names.append(coordinates.names)
        if len(names[0]) != len(coordinates.names):
            raise ValueError(
                "Argument `make_model` must return models that differ in their width "
                f"alone. Received: layers {names[0]} at {widths[0]}, "
                f"{coordinates.names} at {width}"
            )
        found.append(_trained(coordinates, TrialOptimizer(model, by), steps))
    sizes, updates = (np.stack(part) for part in zip(*found, strict=True))
    return CoordinateCheck(widths, names[0], sizes, updates)


def _trained(
    coordinates: "_Coordinates", trial: TrialOptimizer, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and updates of one model, as `CoordinateCheck` holds them."""
    first = coordinates(trial.weights)
    sizes, updates = [_sizes(first)], []
    for _ in range(steps):
        _, gradients = coordinates.function.loss_and_gradients(trial.weights)
        trial.step(gradients)
        now = coordinates(trial.weights)
        sizes.append(_sizes(now))
        updates.append(_sizes([h - h0 for h, h0 in zip(now, first, strict=True)]))
    return np.stack(sizes), np.stack(updates)


def _sizes(activations: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([np.abs(h).mean() for h in activations])


class _Coordinates:
    """The outputs of a model's layers with weights, as a function of the weights."""

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any,
        loss: Identifier | None,
        training: bool,
    ) -> None:
        self.function = WeightFunction(model, x, y, loss, training)
        self._subject, self._training = Subject(model, x), training
        arrays, _ = check_batch(self._subject, x, None)
        self._x = [ops.convert_to_tensor(h) for h in arrays]
        calls = self._subject.graph.calls
        seen = [c for c in calls if c.has_weights or c.body is not None]
        self.names = tuple(call.name for call in seen)
        self._hook = _Outputs(set(self.names))

    def __call__(self, weights: Sequence[Tensor]) -> list[np.ndarray]:
        model = self._subject.model
        state = [v.value for v in model.non_trainable_variables]
        own = [*model.trainable_variables, *model.non_trainable_variables]
        self._hook.seen.clear()
        with stateless(own, [*weights, *state]), _keras.inside_call(model):
            graph.run(self._subject.graph, self._x, self._hook, None, self._training)
        return list(self._hook.seen)


class _Outputs(graph.Hook):
    """Keeps what calls give; those inside of stacks have other names."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self.seen: list[np.ndarray] = []

    def leave(
        self, call: graph.Call, outputs: Sequence[Tensor], control: Tensor | None
    ) -> Sequence[Tensor]:
        if call.name in self.names:
            h = ops.convert_to_numpy(ops.cast(outputs[0], "float32"))
            self.seen.append(h.astype("float64"))
        return outputs
