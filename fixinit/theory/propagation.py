"""Propagation of moments through a model, call by call."""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import keras
import numpy as np

from fixinit import graph
from fixinit._checked import checked
from fixinit._validation import check_variance
from fixinit.layers import Stack, block_configs
from fixinit.theory import calculus
from fixinit.theory.application import apply, check_batch
from fixinit.theory.calculus.elementwise import again
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import position_average
from fixinit.theory.calculus.sources import Part, overlap, root
from fixinit.theory.errors import NoRuleError
from fixinit.theory.evaluation.joint_calls import JointCalls
from fixinit.theory.evaluation.known_calls import known_outputs, readable, token_input
from fixinit.theory.evaluation.measured import measure
from fixinit.theory.evaluation.random_outputs import RandomCalls
from fixinit.theory.evaluation.wrapped_models import step_of, wraps_model
from fixinit.theory.input_sizes import known, sizes_of
from fixinit.theory.registry import Setting, how_to_register

# From an operation and the largest mean square that it reads to the one that it gives.
Assumption: TypeAlias = Callable[[Any, float], float]
# Gets the name of a call, its operation and its output.
Report: TypeAlias = Callable[[str, Any, Moments], None]


@checked
def propagate(
    model: keras.Model,
    hook: graph.Hook,
    input_mean: float = 0.0,
    input_variance: float = 1.0,
    assume: Assumption | None = None,
    training: bool = False,
    input_shape: Any = None,
) -> list[str]:
    """Propagates moments through a model, and lets a hook read and change them.

    Example:

    >>> class Print(fixinit.graph.Hook):
    ...     def leave(self, call, outputs, control):
    ...         print(call.name, outputs[0].mean_square)
    ...         return outputs
    >>> model = keras.Sequential([keras.Input((8,), name="x"), keras.layers.ReLU()])
    >>> fixinit.theory.propagate(model, Print())
    x 1.0
    re_lu 0.5
    []

    Args:
        model: Functional or Sequential `keras.Model`, as in `fixinit.theory.predict`.
        hook: `fixinit.graph.Hook`. `enter` and `leave` get and return lists of
            `fixinit.theory.Moments` in the place of tensors, without a control. The
            hook does not see the blocks inside of stacks.
        input_mean: float, the mean of every element of the inputs; 0 by default.
        input_variance: float, its variance; 1 by default.
        assume: Callable for calls without a rule, `(operation, mean_square) ->
            mean_square`: from the largest mean square that the call reads to the one
            that it gives, in independent values. With it, joined values whose
            covariance is not known are taken to be independent, and axes of unknown
            size have the size of `fixinit.graph.with_sizes`. `None` (default) refuses
            all of this.
        training: bool. Whether layers run in training mode, as dropout acts in it;
            `False` by default.
        input_shape: As in `fixinit.theory.predict`. Axes of unknown size have those.

    Returns:
        List of the names of the calls that `assume` was asked for.

    Raises:
        NoRuleError: For calls without a rule, unless `assume` is given.
        ValueError: For axes of unknown size, unless `assume` or `input_shape` is given,
            and if the model is not built.
        TypeError: If the model has no graph.
    """
    check_variance("input_variance", input_variance)
    traced = graph.trace(model)
    statistics = (input_mean, input_variance, 0.0, 0.0)
    if input_shape is not None:
        sizes = sizes_of(model, input_shape)
    else:
        shapes = [traced.specs[v].shape for v in traced.inputs]
        if assume is not None:
            shapes = [graph.with_sizes(shape) for shape in shapes]
        sizes = [known(shape) for shape in shapes]
    inputs = [Moments.inputs(shape or (1,), *statistics) for shape in sizes]
    propagation = Propagation(training, hook=hook, assume=assume)
    propagation.run(traced, inputs)
    return propagation.assumed


class Propagation:
    """One pass of moments through the graph of a model.

    Args:
        training, batch_size, kernel_factor: What rules get as their `Setting`.
        hook: `fixinit.graph.Hook` around the calls of the model, not around those of
            the blocks in stacks.
        assume: As in `propagate`.
        report: Callable that gets the name, the operation and the output of every call.
        measures: bool. Whether calls without a rule are measured on random inputs.

    Attributes:
        measured: Set of the names that were reported for what was measured.
        assumed: List of the names of the calls that `assume` was asked for.
    """

    def __init__(
        self,
        training: bool = False,
        batch_size: int | None = None,
        kernel_factor: float = 1.0,
        hook: graph.Hook | None = None,
        assume: Assumption | None = None,
        report: Report = lambda name, operation, output: None,
        measures: bool = False,
    ) -> None:
        self.training, self.batch_size = training, batch_size
        self.kernel_factor = kernel_factor
        self.hook = hook or graph.Hook()
        self.assume, self.report, self.measures = assume, report, measures
        self.assumed: list[str] = []
        self.measured: set[str] = set()
        self._measured_calls: set[graph.Call] = set()
        # The graph that is propagated through, the moments of its values, and layers in
        # the place of others.
        self._place: tuple[Any, dict[int, Moments], dict[int, Any]] = (None, {}, {})
        # From layers, and which of their outputs, to the sources of what they drew.
        self._drawn: dict[tuple[Any, int], frozenset] = {}

    def run(self, traced: graph.Graph, inputs: list[Moments]) -> list[Moments]:
        """The moments of a graph's outputs, for those of its inputs."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._run(traced, inputs, self.hook)

    def _run(
        self,
        traced: graph.Graph,
        inputs: list[Moments],
        hook: graph.Hook,
        suffix: str = "",
        replaced: dict[int, Any] | None = None,
    ) -> list[Moments]:
        """Propagates through the calls of the model, or of a block of a stack.

        Calls of a block have a `suffix` behind their names; `replaced` is a dict from
        ids of layers to layers in their place.
        """
        values = dict(zip(traced.inputs, inputs, strict=True))
        outside, self._place = self._place, (traced, values, replaced or {})
        shapes = _shapes(traced, inputs)
        for call in traced.calls:
            if call.is_input:
                (value,) = call.outputs
                outputs = [token_input(call, traced.specs[value], values[value])]
            elif call.body is not None:
                outputs = [self._stack(call, call.body, values[call.inputs[0]], suffix)]
            elif wraps_model(call.operation):
                outputs = self._steps(call, [values[i] for i in call.inputs])
            else:
                operation = (replaced or {}).get(id(call.operation), call.operation)
                read = [values[i] for i in call.inputs]
                specs = [traced.specs[i] for i in call.inputs]
                made = known_outputs(call, operation, read, traced.constants)
                if made is not None:
                    outputs = made
                else:
                    outputs = self._call(call, operation, read, specs, shapes, hook)
            outputs = list(hook.leave(call, outputs, None))
            values.update(zip(call.outputs, outputs, strict=True))
            if not (suffix and call.is_input):
                name, known = call.name + suffix, call not in self._measured_calls
                self._report(name, call.operation, outputs, known)
        self._place = outside
        return [values[i] for i in traced.outputs]

    def _report(
        self, name: str, operation: Any, outputs: Sequence[Moments], known: bool = True
    ) -> None:
        names = [name, *(f"{name}.{index}" for index in range(1, len(outputs)))]
        for own, output in zip(names, outputs, strict=False):
            self.report(own, operation, output)
        if not known:
            self.measured |= set(names)

    def _call(
        self,
        call: graph.Call,
        operation: Any,
        given: list[Moments],
        specs: list[Any],
        shapes: Sequence[tuple],
        hook: graph.Hook,
    ) -> list[Moments]:
        """The moments of the outputs of one call, a list."""
        setting = Setting(
            call.name,
            self.training,
            self.batch_size,
            _output_shape([shapes[value][1:] for value in call.outputs]),
            self.kernel_factor,
        )
        read = list(hook.enter(call, given, None))
        try:
            outputs = self._applied(call, operation, setting, read, specs)
        except calculus.Dependent as error:
            if not self.measures:
                raise NoRuleError(
                    f"`{call.name}` {error}. {how_to_register(operation)}"
                ) from error
            outputs = self._measured(call, operation, read, specs, setting)
        except NoRuleError:
            if self.assume is not None:
                return self._assumed(call, self.assume, operation, read, shapes)
            if not self.measures:
                raise
            outputs = self._measured(call, operation, read, specs, setting)
        if len(outputs) != len(call.outputs):
            raise ValueError(
                f"The rule for {type(operation).__name__} `{call.name}` must return "
                f"{len(call.outputs)} Moments, one per output of the call. Received: "
                f"{len(outputs)}"
            )
        self._draw_once(call, [x.sources for x in given], outputs)
        return [_again(y) if any(y is x for x in read) else y for y in outputs]

    def _measured(
        self,
        call: graph.Call,
        operation: Any,
        read: list[Moments],
        specs: list[Any],
        setting: Setting,
    ) -> list[Moments]:
        check_batch(call.name, read)
        self._measured_calls.add(call)
        draws = bool(getattr(operation, "variables", None))
        together = JointCalls(call, *self._place, self.training)
        if any(overlap(a.sources, b.sources) for a, b in combinations(read, 2)):
            # Tensors that were drawn apart would be independent.
            return measure(together, read, setting, draws)
        apart = RandomCalls(call, read, specs, self.training, operation)
        try:
            return measure(apart, read, setting, draws)
        except NoRuleError as error:
            # Values may have bounds that Gaussian ones of their moments pass.
            try:
                return measure(together, read, setting, draws)
            except NoRuleError:
                raise error from error.__cause__

    def _applied(
        self,
        call: graph.Call,
        operation: Any,
        setting: Setting,
        read: list[Moments],
        specs: list[Any],
    ) -> list[Moments]:
        try:
            pairs = zip(read, specs, strict=True)
            given = [readable(x, spec, operation) for x, spec in pairs]
            return apply(operation, setting, *call.fill(given))
        except calculus.Dependent:
            if self.assume is None:
                raise
        read = [x.like(x.mean, x.same, x.cross, frozenset([object()])) for x in read]
        return apply(operation, setting, *call.fill(read))

    def _assumed(
        self,
        call: graph.Call,
        assume: Assumption,
        operation: Any,
        read: list[Moments],
        shapes: Sequence[tuple],
    ) -> list[Moments]:
        """Independent outputs of the mean square that `assume` says."""
        self.assumed.append(call.name)
        size = assume(operation, max(x.mean_square for x in read))
        # Of an axis that the batch has been moved to, one element is enough.
        sizes = [[n or 1 for n in shapes[value][1:]] or [1] for value in call.outputs]
        outputs = [Moments.inputs(shape, 0.0, size) for shape in sizes]
        for y in outputs:
            _link_as_linear(read, y)
        return outputs

    def _draw_once(
        self, call: graph.Call, read: list[frozenset], outputs: list[Moments]
    ) -> None:
        """Gives a layer that is called again the weights that it had before."""
        known: frozenset = frozenset().union(*read)
        for index, output in enumerate(outputs):
            for tensor in _made_of(output):
                new = tensor.sources - known
                if any(isinstance(source, Part) for source in new):
                    roots = {root(source) for source in known}
                    new = frozenset(s for s in new if root(s) not in roots)
                if new:
                    key = call.operation, index
                    tensor.sources |= self._drawn.setdefault(key, new)

    def _steps(self, call: graph.Call, read: list[Moments]) -> list[Moments]:
        """The output of a model that is applied at every step, as inputs of a batch.

        Pairs of inputs are two steps of different inputs, and in another pass two steps
        of one input.
        """
        traced, (x,) = step_of(call, self.training), read
        made = []
        for within in (False, True):
            modes = self.training, self.batch_size, self.kernel_factor
            inner = Propagation(*modes, assume=self.assume, measures=self.measures)
            made += inner.run(traced, [calculus.into_batch(x, within)])
        self.assumed += inner.assumed
        if inner.measured:
            self._measured_calls.add(call)
        outputs = [calculus.from_batch(made[0], x.shape[0], made[1])]
        self._draw_once(call, [x.sources], outputs)
        return outputs

    def _stack(
        self, call: graph.Call, body: graph.Graph, x: Moments, suffix: str
    ) -> Moments:
        """The output of the last block of a `fixinit.layers.Stack`."""
        stack: Any = call.operation
        outside = x.sources
        # Nothing outside knows the weights of the blocks one by one.
        drawn = self._drawn.setdefault((stack, 0), frozenset([object()]))
        if drawn & outside:
            raise NoRuleError(
                f"`{call.name}` calls a Stack on values that depend on its own "
                "weights, whose covariance is not known. Give each call a Stack of "
                "its own."
            )
        for index in range(stack.depth):
            block, layers = f"{suffix}[{index}]", with_constants(stack, index)
            (x,) = self._run(body, [x], graph.Hook(), block, layers)
            x.sources = outside | drawn
            self._report(f"{call.name}{block}", stack.block, [x])
        return x


def _link_as_linear(read: Sequence[Moments], y: Moments) -> None:
    """Takes gradients back from `y` as a map with independent weights does.

    With weights of variance s, mean squares grow by s times the numbers in x on the way
    forward, and by s times the numbers in y on the way back. Of several inputs, which
    may be multiplied or added, nothing is known: NaN.
    """
    made, shares, shape = _numbers(y) * y.mean_square, y.shares, y.shape
    means, factor = [x.mean for x in read], math.nan
    if len(read) == 1:
        square = _numbers(read[0]) * read[0].mean_square
        factor = made / square if square > 0 else 0.0

    def pull(g: np.ndarray) -> list[np.ndarray]:
        average = float(shares @ position_average(g, shape))
        back = factor * average if average else 0.0
        return [np.full_like(mean, back) for mean in means]

    y.node.link(read, pull)


def _numbers(x: Moments) -> int:
    return math.prod(x.shape) * x.total_channels


def _shapes(traced: graph.Graph, inputs: list[Moments]) -> list[tuple]:
    """The shapes of all values of a graph."""
    try:
        return graph.known_shapes(
            traced, [x.shape + (x.total_channels,) for x in inputs]
        )
    except ValueError as error:
        # A layer that cannot say its shape has none for a rule either.
        raise NoRuleError(str(error)) from error


def _again(x: Moments) -> Moments:
    """What an identity gives: the same, with a gradient of its own."""
    y = again(x)
    y.scores = x.scores
    if x.weighs is not None:
        y.weighs = dataclasses.replace(x.weighs, nodes=(x.weighs.nodes[0], y.node))
    return y


def _output_shape(shapes: list[tuple]) -> tuple:
    return shapes[0] if len(shapes) == 1 else tuple(shapes)


def _made_of(y: Moments) -> Iterator[Moments]:
    """A value, what it was concatenated of, and what it is a function of."""
    yield y
    if y.latent:
        yield y.latent[0]
    for part in y.parts or ():
        yield from _made_of(part)


def with_constants(stack: Stack, index: int) -> dict[int, Any] | None:
    """The layers whose attributes differ from block to block, as in one block."""
    if not stack.constants:
        return None
    replaced: dict[int, Any] = {}
    for path, numbers in stack.constants.items():
        owner, name = block_configs.resolve(stack.block, path)
        changed = replaced.setdefault(id(owner), copy.copy(owner))
        object.__setattr__(changed, name, numbers[index])
    return replaced
