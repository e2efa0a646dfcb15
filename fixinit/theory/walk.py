"""Predicts the moments of every layer of a Keras model, without running it."""

import copy

import keras
import numpy as np

from fixinit import graph
from fixinit._validation import check_number, check_positive_int
from fixinit.layers import block_configs
from fixinit.theory import backward, calculus
from fixinit.theory.moments import Moments
from fixinit.theory.prediction import LayerPrediction, Prediction
from fixinit.theory.registry import (
    Setting,
    find,
    find_by_key,
    how_to_register,
)
from fixinit.theory.rules.activations import function_of


def predict(
    model,
    input_mean=0.0,
    input_variance=1.0,
    training=False,
    batch_size=None,
    input_correlation=0.0,
    space_correlation=0.0,
    kernel_factor=1.0,
):
    """Mean, variance, correlation and gradient of every layer, in closed form.

    At initialization, over the draws of weights and inputs, as the width grows. The
    weights that the model holds are not looked at, only their initializers, so nothing
    is run and no data is seen. Followed are the mean of every layer's output, and its
    second moments for all pairs of positions in one input and in two inputs, see
    `fixinit.theory.Moments`; gradients go back by the transposed map.

    Example:

    >>> inputs = keras.Input((64,))
    >>> x = keras.layers.Dense(512, "relu", kernel_initializer="he_normal")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(10, name="logits")(x))
    >>> layer = fixinit.theory.predict(model)["logits"]
    >>> round(layer.variance, 4)  # 1024 / 522 * (1 - 1 / pi)
    1.3373

    Args:
        model: Functional or Sequential `keras.Model`, built. Channels are the last
            axis; the sizes of spatial axes are known.
        input_mean, input_variance: floats, of every element of the inputs.
        training: bool. `True` normalizes by the batch's own statistics where there is
            BatchNormalization, and adds noise where there is dropout. `False` (default)
            uses the moving statistics that the model starts with.
        batch_size: int. The batch over which variances are meant, and over which
            BatchNormalization normalizes. By default a very large one.
        input_correlation: float in `[0, 1]`. Correlation of the same position of two
            inputs; 0 by default.
        space_correlation: float in `[0, 1]`. Correlation of two positions of one input;
            0 by default, for independent pixels.
        kernel_factor: float. What the variances of all kernels are multiplied by,
            1 by default: see `fixinit.theory.critical_factor`.

    Returns:
        `fixinit.theory.Prediction`, with one `LayerPrediction` per call. Those in a
        `fixinit.layers.Stack` carry the index of their block, such as
        `"blocks/merge[7]"`; `"blocks[7]"` is the output of the block.

    Raises:
        ValueError: If an argument is outside its range, and for layers, operations,
            activations and initializers without a rule: see `fixinit.theory.register`.

    References:

    - [Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)
    - [Xiao et al., 2018](https://arxiv.org/abs/1806.05393) (convolutions)
    """
    check_number("input_mean", input_mean, "a finite number", lambda x: True)
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
    traced = graph.trace(model)
    walk = Walk(bool(training), batch_size, kernel_factor)
    inputs = [input_moments(traced.specs[v].shape, statistics) for v in traced.inputs]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        outputs = walk.run(traced, inputs)
        gradients = backward.gradients(outputs)
    return Prediction([row(gradients) for row in walk.rows])


def input_moments(shape, statistics):
    sizes = tuple(shape[1:]) or (1,)
    if None in sizes:
        raise ValueError(
            "The sizes of all axes of the inputs but the batch must be known. Received "
            f"an input of shape {shape}. Build the model on a fixed size, such as "
            "keras.Input((224, 224, 3))."
        )
    return Moments.inputs(sizes, *statistics)


class Walk:
    """Goes through a graph, call by call, and keeps what is to be reported.

    A hook sees the calls of the model, not those of the blocks in stacks.
    """

    def __init__(
        self,
        training=False,
        batch_size=None,
        kernel_factor=1.0,
        hook=None,
        assume=None,
    ):
        self.training, self.batch_size = training, batch_size
        self.kernel_factor = kernel_factor
        self.assume = assume
        self.hook = hook or graph.Hook()
        self.rows = []
        self.assumed = []  # the names of calls that `assume` was asked for
        self.drawn = {}  # from layers to the sources of what they have drawn

    def run(self, traced, inputs, suffix="", replaced=None):
        """The moments of a graph's outputs.

        Args:
            traced: `fixinit.graph.Graph`.
            inputs: List of `Moments`.
            suffix: String behind the names of the calls.
            replaced: Dict from ids of layers to layers in their place.
        """
        values = dict(zip(traced.inputs, inputs, strict=True))
        hook = graph.Hook() if suffix else self.hook
        read = [x.shape + (x.total_channels,) for x in inputs]
        shapes = graph.known_shapes(traced, read)
        for call in traced.calls:
            if call.is_input:
                y = values[call.outputs[0]]
            elif call.body is not None:
                y = self._stack(call, values[call.inputs[0]], suffix)
            else:
                operation = (replaced or {}).get(id(call.operation), call.operation)
                y = self._call(shapes, call, operation, values, hook)
            (y,) = hook.leave(call, [y], None)
            values[call.outputs[0]] = y
            if not (suffix and call.is_input):
                self._report(call.name + suffix, call.operation, y)
        return [values[i] for i in traced.outputs]

    def _report(self, name, operation, y):
        numbers = (
            y.mean_value,
            y.mean_square,
            y.batch_variance(self.batch_size),
            y.correlation,
        )
        kind, node, average = type(operation).__name__, y.node, _averager(y)

        def row(gradients):
            gradient = gradients.get(node.serial)
            size = 0.0 if gradient is None else average(gradient)
            return LayerPrediction(name, kind, *numbers, size)

        self.rows.append(row)

    def _call(self, shapes, call, operation, values, hook):
        # Like Keras, which overrides what a layer was called with.
        shape = shapes[call.outputs[0]][1:]
        setting = Setting(
            call.name, self.training, self.batch_size, shape, self.kernel_factor
        )
        read = hook.enter(call, [values[i] for i in call.inputs], None)
        try:
            y = self._applied(call, operation, setting, read)
        except ValueError:
            if self.assume is None:
                raise
            return self._assumed(shapes, call, operation, read, values)
        self._draw_once(call, [values[i].sources for i in call.inputs], y)
        return y

    def _applied(self, call, operation, setting, read):
        try:
            return apply(operation, setting, *call.fill(read))
        except calculus.Dependent as error:
            if self.assume is None:
                raise ValueError(
                    f"`{call.name}` {error}. {how_to_register(operation)}"
                ) from None
        read = [_as_if_independent(x) for x in read]
        return apply(operation, setting, *call.fill(read))

    def _assumed(self, shapes, call, operation, read, values):
        """What a call gives whose effect the closed form does not know."""
        self.assumed.append(call.name)
        size = self.assume(operation, max(x.mean_square for x in read))
        for value in call.outputs:
            # Of an axis that the batch has been moved to, one element is enough.
            shape = [n or 1 for n in shapes[value][1:]] or [1]
            values[value] = Moments.inputs(shape, 0.0, size)
        return values[call.outputs[0]]

    def _draw_once(self, call, sources, y):
        """A layer that is called again has the weights that it had before."""
        known = frozenset().union(*sources)
        for tensor in _made_of(y):
            new = tensor.sources - known
            if new:
                tensor.sources |= self.drawn.setdefault(call.operation, new)

    def _stack(self, call, x, suffix):
        stack, outside = call.operation, x.sources
        # Nothing outside knows the weights of the blocks one by one.
        drawn = self.drawn.setdefault(stack, frozenset([object()]))
        if drawn & outside:
            raise ValueError(
                f"`{call.name}` calls a Stack on values that depend on its own "
                "weights, whose covariance is not known. Give each call a Stack of "
                "its own."
            )
        for index in range(stack.depth):
            replaced = _with_constants(stack, index)
            (x,) = self.run(call.body, [x], f"{suffix}[{index}]", replaced)
            x.sources = outside | drawn
            self._report(f"{call.name}{suffix}[{index}]", stack.block, x)
        return x


def _as_if_independent(x):
    return x.like(x.mean, x.same, x.cross, frozenset([object()]))


def _made_of(y):
    """A value, what it was concatenated of, and what it is a function of."""
    yield y
    if y.latent:
        yield y.latent[0]
    for part in y.parts or ():
        yield from _made_of(part)


def _averager(y):
    shares, average = y.shares, y.average
    return lambda gradient: float(shares @ average(gradient))


def apply(operation, setting, args, kwargs):
    if getattr(operation, "data_format", None) == "channels_first":
        raise ValueError(
            f"Layer `{setting.name}` has data_format='channels_first'. Predictions "
            "need channels as the last axis."
        )
    if isinstance(operation, keras.layers.Layer):
        # Masks and modes are arguments of the call: no tensors.
        rule, kwargs = find(operation), {}
    else:
        rule = find_by_key(type(operation).__name__)
        function = function_of(operation)
        if rule is None and function is not None:
            return calculus.apply(args[0], function)
    if rule is None:
        kind = type(operation).__name__
        raise ValueError(
            f"What {kind} `{setting.name}` does to variances is not known. "
            + how_to_register(operation)
        )
    return rule(operation, setting, *args, **kwargs)


def _with_constants(stack, index):
    """The layers whose attributes differ from block to block, as in one block."""
    if not stack.constants:
        return None
    replaced = {}
    for path, numbers in stack.constants.items():
        owner, name = block_configs.resolve(stack.block, path)
        changed = replaced.setdefault(id(owner), copy.copy(owner))
        object.__setattr__(changed, name, numbers[index])
    return replaced
