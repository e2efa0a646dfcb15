"""What the closed forms predict of signals, of gradients, and of their deviations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fixinit._typing import Shape
from fixinit.conversion.kernels import is_corrected
from fixinit.conversion.trial import Ends, Sizes, Statistics
from fixinit.graph import Call, Graph, Hook
from fixinit.graph.kinds import output_facts
from fixinit.layers import facts_of
from fixinit.theory import Moments
from fixinit.theory.calculus import backward
from fixinit.theory.calculus.pairs import position_average
from fixinit.theory.input_sizes import known
from fixinit.theory.propagation import Assumption, Propagation

# Of the mean square over the units of one layer behind a ReLU, where a Gaussian weight
# vector belongs to each and all samples are alike: E[relu(u)^4] / E[relu(u)^2]^2 - 1.
# It is 2 without an activation, and less where samples differ.
_UNIT_VARIANCE = 5.0


class Expectation:
    """The predicted sizes of a network, and how far one draw may be from them.

    A mean square is a mean over the units of a layer, whose weights are drawn, so that
    that of one draw deviates: its logarithm has a variance of about 5 over the number
    of units, and more behind every further layer (Hanin and Rolnick, 2018). Kernels
    that make up for their draws end that.

    Args:
        graph: `fixinit.graph.Graph` of the model.
        ends: `Ends`.
        shapes: List of the shapes of the model's inputs, with the batch.
        inputs: List of `Statistics`, one for each input of the model.
        stems: Dict from calls to the `Statistics` of what they read.
        assume: As in `fixinit.theory.propagate`.

    Attributes:
        sizes: `Sizes`.
        deviations: Dict from values to the standard deviation of the logarithm of the
            mean square.
        drawn: Likewise, of all draws up to there, made up for or not, without what
            products amplify.
        assumed: Set of the names of calls without a rule.

    References:

    - [Hanin and Rolnick, 2018](https://arxiv.org/abs/1803.01719)
    """

    def __init__(
        self,
        graph: Graph,
        ends: Ends,
        shapes: Sequence[Shape],
        inputs: Sequence[Statistics],
        stems: Mapping[Call, Statistics],
        assume: Assumption,
    ) -> None:
        hook = _Record(ends, stems)
        propagation = Propagation(training=True, hook=hook, assume=assume)
        moments = [
            Moments.inputs(known(shape) or (1,), *_tuple(statistics))
            for shape, statistics in zip(shapes, inputs, strict=True)
        ]
        propagation.run(graph, moments)
        self.deviations, self.drawn = hook.deviations, hook.drawn
        self.assumed = set(propagation.assumed)
        self.sizes = Sizes(hook.forward, hook.gradients())


def _tuple(statistics: Statistics) -> tuple[float, float, float, float]:
    s = statistics
    return s.mean, s.variance, s.between, s.space


class _Record(Hook):
    """Records the moments of all values, and the deviations of single draws."""

    def __init__(self, ends: Ends, stems: Mapping[Call, Statistics]) -> None:
        self.ends, self.stems = ends, {c.name: s for c, s in stems.items()}
        self.forward: dict[str, float] = {}
        self.deviations: dict[int, float] = {}
        self.drawn: dict[int, float] = {}
        self._squares: dict[int, float] = {}
        self._made: dict[int, Moments] = {}
        # All that gradients ask for: moments of thousands of calls are large.
        self._rows: dict[str, tuple[int, tuple[int, ...], np.ndarray]] = {}

    def enter(self, call: Call, inputs: list[Any], control: Any) -> Sequence[Any]:
        statistics = self.stems.get(call.name)
        if statistics is None:
            return inputs
        x = inputs[0]
        shape = x.shape + (x.total_channels,)
        return [Moments.inputs(shape, *_tuple(statistics)), *inputs[1:]]

    def leave(self, call: Call, outputs: list[Any], control: Any) -> Sequence[Any]:
        y = outputs[0]
        deviation = 0.0
        if not is_corrected(call.operation):
            deviation = self._deviation(call, y, self.deviations, sum)
        drawn = self._deviation(call, y, self.drawn, max)
        for value, y in zip(call.outputs, outputs, strict=True):
            self._squares[value] = y.mean_square
            self.deviations[value], self.drawn[value] = deviation, drawn
            if value in self.ends.gradients:
                self._made[value] = y
        y = outputs[0]
        self.forward[call.name] = y.mean_square
        self._rows[call.name] = y.node.serial, y.shape, y.shares
        return outputs

    def gradients(self) -> dict[str, float]:
        """The mean squares of the gradients at all calls that gradients come to."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = backward.gradients([self._made[v] for v in sorted(self._made)])
        return {
            name: float(shares @ position_average(found[serial], shape))
            for name, (serial, shape, shares) in self._rows.items()
            if serial in found
        }

    def _deviation(
        self,
        call: Call,
        y: Moments,
        known: dict[int, float],
        of_product: Callable[[list[float]], float],
    ) -> float:
        """That of the logarithm of a mean square, from those of what the call reads."""
        read = [known[value] for value in call.inputs]
        if facts_of(call.operation).multiplies:
            return of_product(read)
        squares = [self._squares[value] for value in call.inputs]
        total = sum(squares)
        if len(read) > 1 and 0 < total < np.inf:
            shares = [square / total for square in squares]
            before = sum(s * d for s, d in zip(shares, read, strict=True))
        else:
            before = max(read, default=0.0)
        drawn = _UNIT_VARIANCE / y.total_channels if call.has_weights else 0.0
        if output_facts(call.operation).bounded:
            before = 0.0  # Gates give about the same, whatever the size that they read.
        if call.body is not None:
            drawn = call.operation.depth * _UNIT_VARIANCE / y.total_channels
        return float(np.sqrt(before**2 + drawn))
