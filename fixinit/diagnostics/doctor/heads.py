"""Heads of a model: the last activation, loss and targets of every output."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fixinit._typing import Identifier
from fixinit.diagnostics._shared.activations import (
    activation_name,
    activation_range,
    is_softmax,
    snake_case,
    unwrapped,
)
from fixinit.diagnostics._shared.default_loss import loss_for
from fixinit.diagnostics._shared.fit_loss import in_order
from fixinit.diagnostics._shared.subject import Subject
from fixinit.graph import Call, Graph
from fixinit.layers import facts_of

# Losses that compare two distributions, and read probabilities or logits.
CATEGORICAL = ("categorical_crossentropy", "categorical_focal_crossentropy")
SPARSE = ("sparse_categorical_crossentropy",)
BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
# Losses that take the logarithm of what they read, with no choice of logits.
POISSON, DIVERGENCES = ("poisson",), ("kl_divergence", "kldivergence")
CROSS_ENTROPIES = (*CATEGORICAL, *SPARSE, *BINARY)
# Activations whose outputs are probabilities.
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
# Losses whose targets are indices, or directions, and no numbers to be reached.
NO_NUMBERS = (*CATEGORICAL, *SPARSE, "ctc", "circle", "cosine_similarity")
# Losses in the units of the targets.
REGRESSIONS = (
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
)


@dataclasses.dataclass(frozen=True)
class Head:
    """Last activation, loss and targets of one output.

    Attributes:
        name: Name of the output layer.
        layer: Name of the layer that holds the last activation.
        weight: The `fixinit.graph.Call` of the last weight layer, or `None` where other
            operations stand between it and the output.
        units: int, the last axis of the output; 1 for a vector of numbers.
        activation: Name of the last activation; `"linear"` without one; `""` if
            something else stands last.
        range: Pair of floats that the last activation keeps its outputs in.
        loss: Name of Keras's function for the loss; `""` if it is unknown.
        from_logits: bool. Whether the loss reads logits.
        target: Array, or `None`.
        given: The loss as it was given, or the one that follows from the targets, or
            `None`.
        prediction: Array like the output, for the first samples.
        ignored: int, the label that the loss leaves out (`ignore_class`), or `None`.
    """

    name: str
    layer: str
    weight: Call | None
    units: int
    activation: str
    range: tuple[float, float]
    loss: str
    from_logits: bool
    target: np.ndarray | None
    given: Any = None
    prediction: np.ndarray | None = None
    ignored: int | None = None

    @property
    def is_cross_entropy(self) -> bool:
        """Whether the loss is a cross-entropy."""
        return self.loss in CROSS_ENTROPIES

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """Class of every target, where targets are classes or one-hot rows."""
        y = self.target
        if y is None or y.size == 0:
            return None
        if self.has_rows and self.loss in SPARSE and _are_one_hot(y):
            return y.argmax(-1).ravel()
        if (
            self.loss in SPARSE
            or y.dtype.kind in "iub"
            and y.shape[-1:] != (self.units,)
        ):
            return y.astype(int).ravel()
        if self.units > 1 and y.shape[-1:] == (self.units,) and y.ndim > 1:
            if _are_one_hot(y):
                return y.argmax(-1).ravel()
        return None

    @property
    def has_rows(self) -> bool:
        """Whether every target is a row of one number for each of several units."""
        y, h = self.target, self.prediction
        if y is None or h is None or self.units < 2:
            return False
        return y.shape[1:] == h.shape[1:]

    @functools.cached_property
    def skill(self) -> float:
        """Share of what a constant gets wrong that is right, or explained variance.

        1 for perfect predictions, 0 for those of a constant; NaN where targets and
        predictions cannot be compared.
        """
        y, h = self.target, self.prediction
        if y is None or h is None or not h.size:
            return math.nan
        y = y[: len(h)]
        if self.labels is not None and self.units > 1:
            guesses = h.reshape(-1, self.units).argmax(-1)
            labels = self.labels[: len(guesses)]
            if len(labels) != len(guesses):
                return math.nan
            frequent = np.unique(labels, return_counts=True)[1].max(initial=0)
            right = float(np.mean(guesses == labels))
            return _beyond(right, frequent / max(len(labels), 1))
        if y.size != h.size:
            return math.nan
        y = y.reshape(h.shape).astype("float64")
        if self.is_binary and self.loss in BINARY:
            right = float(np.mean((h > (0.0 if self.from_logits else 0.5)) == y))
            return _beyond(right, float(max(y.mean(), 1 - y.mean())))
        variance = float(y.var())
        return 1 - float(np.mean((h - y) ** 2)) / variance if variance else math.nan

    @property
    def is_binary(self) -> bool:
        """Whether all targets are 0 or 1, and not all rows one-hot."""
        y = self.target
        if y is None or self.labels is not None and self.units > 1:
            return False
        return bool(np.isin(y, (0, 1)).all())


def _are_one_hot(y: np.ndarray) -> bool:
    return bool(np.isin(y, (0, 1)).all() and (y.sum(-1) == 1).all())


def _beyond(right: float, constant: float) -> float:
    """Share of the mistakes of a constant that is right; NaN where it makes none."""
    return (right - constant) / (1 - constant) if constant < 1 else math.nan


def heads_of(
    subject: Subject,
    loss: Identifier | None,
    y: Any,
    predictions: Sequence[np.ndarray] = (),
) -> list[Head]:
    """The heads of a model, one for each output.

    Args:
        subject: `Subject`.
        loss: As `diagnose` takes it.
        y: Targets in the structure of the outputs, or `None`.
        predictions: List of arrays, one for each output.
    """
    traced, names = subject.graph, subject.output_names
    count = len(traced.outputs)
    targets = [None] * count if y is None else in_order(y, names)
    if len(targets) != count:
        targets = [None] * count
    losses = _losses(subject, loss, targets)
    heads = []
    for i, value in enumerate(traced.outputs):
        layer, activation = _last(traced, value)
        name, settings = _named(losses[i])
        shape = traced.specs[value].shape
        heads.append(
            Head(
                name=names[i],
                layer=layer,
                weight=_weight(traced, value),
                units=int(shape[-1] or 1) if len(shape) > 1 else 1,
                activation=activation_name(activation),
                range=activation_range(activation),
                loss=name,
                from_logits=bool(settings.get("from_logits", False)),
                target=None if targets[i] is None else np.asarray(targets[i]),
                given=losses[i],
                prediction=predictions[i] if i < len(predictions) else None,
                ignored=settings.get("ignore_class"),
            )
        )
    return heads


def _losses(
    subject: Subject, loss: Identifier | None, targets: Sequence[Any]
) -> list[Any]:
    """The loss of each output: given, following from the targets, or `None`."""
    names = subject.output_names
    if loss is None and not subject.model.compiled:
        pairs = zip(targets, subject.outputs, strict=True)
        return [None if y is None else loss_for(y, spec) for y, spec in pairs]
    if loss is None:
        loss = getattr(subject.model, "loss", None)
    if isinstance(loss, dict) and set(loss) <= set(names):
        return [loss.get(name) for name in names]
    if isinstance(loss, (list, tuple)) and len(loss) == len(names):
        return list(loss)
    return [loss] * len(names)


def _named(loss: Any) -> tuple[str, Mapping[str, Any]]:
    """`(name, settings)` of a Keras loss, as its function is named."""
    if loss is None:
        return "", {}
    try:
        loss = keras.losses.get(loss)
    except (ValueError, TypeError):
        return "", {}
    if isinstance(loss, functools.partial):
        name, _ = _named(loss.func)
        return name, loss.keywords
    if isinstance(loss, keras.losses.Loss):
        if type(loss).__module__.split(".")[0] != "keras":
            return "", {}
        return snake_case(type(loss)), loss.get_config()
    name = getattr(loss, "__name__", "")
    return (name if getattr(keras.losses, name, None) is loss else "", {})


def _last(traced: Graph, value: int) -> tuple[str, Any]:
    """`(name of the layer, activation)` behind which nothing changes numbers."""
    producers = traced.producers()
    while True:
        call = producers[value]
        operation = unwrapped(call.operation)
        facts = facts_of(operation)
        if is_softmax(operation) or facts.activates:
            return call.name, operation
        held = getattr(operation, "activation", None)
        if held is not None and held is not keras.activations.linear:
            return call.name, held
        if call.has_weights:
            return call.name, keras.activations.linear
        if len(call.inputs) != 1 or not (facts.rearranges or keeps(operation)):
            return call.name, None
        (value,) = call.inputs


def keeps(operation: Any) -> bool:
    """Whether an operation hands on the numbers that it reads when it is tested."""
    is_linear = getattr(operation, "activation", None) is keras.activations.linear
    drops = (keras.layers.Dropout, keras.layers.Identity, keras.layers.GaussianNoise)
    return isinstance(operation, drops) or is_linear


def _weight(traced: Graph, value: int) -> Call | None:
    """The last weight layer, if an activation at most follows it."""
    producers = traced.producers()
    call = producers[value]
    while not call.has_weights:
        facts = facts_of(call.operation)
        same = facts.activates or facts.rearranges or keeps(call.operation)
        if len(call.inputs) != 1 or not (same or is_softmax(call.operation)):
            return None
        call = producers[call.inputs[0]]
    return call
