"""Prediction of the moments and gradients of every layer, in closed form."""

import contextlib
import dataclasses
import difflib
from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np

from fixinit import graph
from fixinit._checked import checked
from fixinit._validation import check_factor, check_number, check_positive_int
from fixinit.graph.functional import is_subclassed
from fixinit.theory.calculus import backward
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import position_average
from fixinit.theory.errors import NoRuleError
from fixinit.theory.input_sizes import random_data, sizes_of
from fixinit.theory.propagation import Propagation
from fixinit.theory.registry import find


@checked
def predict(
    model: keras.Model,
    input_mean: float = 0.0,
    input_variance: float = 1.0,
    training: bool = False,
    batch_size: int | None = None,
    input_correlation: float = 0.0,
    space_correlation: float = 0.0,
    kernel_factor: float = 1.0,
    input_shape: Any = None,
    unknown: Literal["refuse", "measure"] = "refuse",
) -> "Prediction":
    """Predicts mean, variance, correlation and gradient of every layer, in closed form.

    Expectations are over the draws of weights and inputs at initialization, in the
    limit of many channels. Only the initializers of the weights are read: nothing is
    drawn or run, unless `unknown="measure"`. For every layer, the mean of the output
    and its second moments for all pairs of positions in one input and in two are
    propagated, see `fixinit.theory.Moments`; gradients go back by the transposed map.
    Where a layer of one's own has no rule, its `call` is looked into.

    Example:

    >>> inputs = keras.Input((64,))
    >>> x = keras.layers.Dense(512, "relu", kernel_initializer="he_normal")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
    >>> layer = fixinit.theory.predict(model)["logits"]
    >>> round(layer.variance, 4)  # 1024 / 522 * (1 - 1 / pi)
    1.3373

    Args:
        model: `keras.Model`, built: functional, Sequential, or of a class of one's own
            whose `call` is made of layers and `keras.ops`. Channels are the last axis.
        input_mean: float, the mean of every element of the inputs; 0 by default.
        input_variance: float, its variance; 1 by default.
        training: bool. `True` normalizes by the batch's own statistics in
            BatchNormalization, and adds the noise of dropout. `False` (default) uses
            the moving statistics that the model starts with.
        batch_size: int. The batch over which variances are meant, and over which
            BatchNormalization normalizes. By default a very large one.
        input_correlation: float in `[0, 1]`. Correlation of the same position of two
            inputs; 0 by default.
        space_correlation: float in `[0, 1]`. Correlation of two positions of one input;
            0 by default, for independent pixels.
        kernel_factor: float. Multiplies the variances of all kernels; 1 by default. See
            `fixinit.theory.critical_factor`.
        input_shape: Tuple of ints, the shape of the input without the batch, such as
            `(224, 224, 3)`, for models that leave sizes open; of several inputs, a
            list of such tuples, or a dict by their names. By default that of the model.
        unknown: `"refuse"` (default) raises `NoRuleError` for calls without a rule.
            `"measure"` makes them on random tensors of the predicted moments, a layer
            with weights of its own each time, and goes on with what comes out. Calls
            that join values with common weights are made behind all that these depend
            on, from the inputs. Their rows say so, see `LayerPrediction.measured`.

    Returns:
        `fixinit.theory.Prediction`, with one `LayerPrediction` per call. Further
        outputs of a call carry their index, such as `"lstm.1"`; calls inside of a
        `fixinit.layers.Stack` that of their block, such as `"blocks/merge[7]"`;
        `"blocks[7]"` is the output of the block.

    Raises:
        NoRuleError: For layers, operations, activations and initializers without a
            rule: see `fixinit.theory.register`.
        ValueError: If an argument is outside its range, the model is not built, or the
            size of an input is neither known nor given.
        TypeError: If the model has no graph.

    References:

    - [Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)
    - [Xiao et al., 2018](https://arxiv.org/abs/1806.05393) (convolutions)
    """
    check_factor("input_mean", input_mean)
    check_number("input_variance", input_variance, "at least 0", lambda x: x >= 0)
    for name, value in (
        ("input_correlation", input_correlation),
        ("space_correlation", space_correlation),
    ):
        check_number(name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)
    check_number("kernel_factor", kernel_factor, "at least 0", lambda x: x >= 0)
    if batch_size is not None:
        check_positive_int("batch_size", batch_size)
    statistics = (input_mean, input_variance, input_correlation, space_correlation)
    sizes = sizes_of(model, input_shape)
    data = None if input_shape is None else random_data(model, sizes)
    modes = bool(training), batch_size, kernel_factor

    def attempt(all_own: bool = False, measures: bool = False) -> Prediction:
        with graph.opened(model, _has_rule, data, all_own) as inside:
            # What has a `call` of its own has sizes once it is opened.
            shapes = sizes_of(inside.model) if is_subclassed(model) else sizes
            inputs = [Moments.inputs(shape or (1,), *statistics) for shape in shapes]
            return _predicted(graph.trace(inside.model), inputs, modes, measures)

    try:
        return attempt()
    except NoRuleError as error:
        # What layers of one's own compute may have rules where they have none.
        with contextlib.suppress(NoRuleError):
            return attempt(all_own=True)
        if unknown == "refuse":
            raise error
    return attempt(measures=True)


def _has_rule(layer: Any) -> bool:
    return find(layer) is not None


def _predicted(
    traced: graph.Graph,
    inputs: list[Moments],
    modes: tuple[bool, int | None, float],
    measures: bool,
) -> "Prediction":
    rows: list[_Row] = []

    def report(name: str, operation: Any, output: Moments) -> None:
        rows.append(_Row(name, operation, output, modes[1]))

    propagation = Propagation(*modes, report=report, measures=measures)
    outputs = propagation.run(traced, inputs)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        gradients = backward.gradients(outputs)
    return Prediction([row.finished(gradients, propagation.measured) for row in rows])


class _Row:
    """The report on one output; light enough to keep for thousands of layers."""

    def __init__(
        self, name: str, operation: Any, output: Moments, batch_size: int | None
    ) -> None:
        self.prediction = LayerPrediction(
            name,
            type(operation).__name__,
            output.mean_value,
            output.mean_square,
            output.batch_variance(batch_size),
            output.correlation,
        )
        self.shape, self.shares = output.shape, output.shares
        self.serial = output.node.serial

    def finished(self, gradients: dict, measured: set[str]) -> "LayerPrediction":
        gradient, size = gradients.get(self.serial), 0.0
        if gradient is not None:
            size = float(self.shares @ position_average(gradient, self.shape))
        return dataclasses.replace(
            self.prediction, gradient=size, measured=self.prediction.name in measured
        )


@dataclasses.dataclass(frozen=True)
class LayerPrediction:
    """Predicted statistics of the output of one layer, over weights and inputs.

    Example:

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.ReLU(name="relu")])
    >>> row = fixinit.theory.predict(model)["relu"]
    >>> row.mean_square, round(row.variance, 6)
    (0.5, 0.340845)

    Attributes:
        name: String, the name of the call.
        kind: String, the class of the layer or operation.
        mean: float.
        mean_square: float. The uncentred second moment.
        variance: float. Over batch and space, per channel, averaged over channels.
        correlation: float. `E[h(x) h(x')] / E[h(x)^2]` for two inputs x and x'.
        gradient: float. Mean square of the gradient with respect to this output, for
            gradients of mean square 1 at the model's outputs.
        measured: bool. Whether the call has no rule, and these numbers are those of
            random tensors that it was made on; what stands behind it depends on them.
    """

    name: str
    kind: str
    mean: float
    mean_square: float
    variance: float
    correlation: float
    gradient: float = float("nan")
    measured: bool = False


class Prediction:
    """The predicted statistics of all layers of a model, in the order of its calls.

    `prediction["conv1"]` is the `LayerPrediction` of a call; printed, it is a table, in
    which calls that were measured have a `*`.

    Example:

    >>> model = fixinit.models.ResidualMLP(4, units=32, scheme="unnormalized", seed=0)
    >>> prediction = fixinit.theory.predict(model)
    >>> prediction["block1/merge"].mean_square
    4.0
    >>> prediction.layers[-1].name
    'predictions'
    """

    @checked
    def __init__(self, layers: list[LayerPrediction]) -> None:
        self.layers = layers
        self._by_name = {layer.name: layer for layer in layers}

    @property
    def measured(self) -> list[str]:
        """The names of the calls without a rule, which were measured."""
        return [layer.name for layer in self.layers if layer.measured]

    def __getitem__(self, name: str) -> LayerPrediction:
        if name not in self._by_name:
            nearest = difflib.get_close_matches(str(name), self._by_name, n=3)
            hint = f"Did you mean one of {nearest}?" if nearest else "See `.layers`."
            raise KeyError(f"No call of the model has the name {name!r}. {hint}")
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerPrediction]:
        return iter(self.layers)

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """A dict for JSON: `{"layers": [{"name": ..., "variance": ..., ...}, ...]}`"""
        return {"layers": [dataclasses.asdict(layer) for layer in self.layers]}

    def __str__(self) -> str:
        names = [layer.name + "*" * layer.measured for layer in self.layers]
        width = max(map(len, names), default=5)
        columns = ("mean", "mean_square", "variance", "correlation", "gradient")
        lines = [" ".join([f"{'layer':{width}}", *(f"{c:>11}" for c in columns)])]
        for name, layer in zip(names, self.layers, strict=True):
            numbers = (f"{getattr(layer, c):11.4g}" for c in columns)
            lines.append(" ".join([f"{name:{width}}", *numbers]))
        if self.measured:
            lines.append("* has no rule: measured on random tensors")
        return "\n".join(lines)
