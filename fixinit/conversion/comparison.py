"""Finds where measured sizes of signals and gradients leave the predicted ones."""

import dataclasses
import math
from collections.abc import Callable, Iterator

from fixinit.conversion.assumptions import some
from fixinit.conversion.expectation import Expectation
from fixinit.conversion.trial import Sizes
from fixinit.graph import Call, Graph, is_addition
from fixinit.graph.functional import is_own

# The factor by which mean squares may differ, beside what single draws deviate by.
FACTOR = 3.0
_DEVIATIONS = 2.0
# Below this, relative to 1, a mean square is what rounding leaves of zero.
_NOTHING = 1e-10


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A mean square as predicted and as measured.

    Attributes:
        predicted, measured: floats.
        deviation: float, what the logarithm of single draws deviates by.
    """

    predicted: float
    measured: float
    deviation: float

    @property
    def gap(self) -> float:
        """The logarithm of measured over predicted; infinite where one is nothing."""
        few, more = sorted((self.predicted, self.measured))
        if not math.isfinite(self.predicted + self.measured):
            return math.inf
        if more < _NOTHING:
            return 0.0
        return math.log(self.measured / self.predicted) if few > 0 else math.inf

    @property
    def agrees(self) -> bool:
        """Whether the two are as near as they should be."""
        return abs(self.gap) <= math.log(FACTOR) + _DEVIATIONS * self.deviation


def _differs(pair: _Pair | None) -> bool:
    return pair is not None and not pair.agrees


@dataclasses.dataclass(frozen=True)
class _Difference:
    """A call where predicted and measured mean squares begin to differ.

    Attributes:
        call: `fixinit.graph.Call`.
        pair: `_Pair`.
        jumps: bool. Whether they differ at once, and not little by little on the way.
        makers: List of the calls that make the size: the call itself, or, of a
            gradient, those that read what it gives.
    """

    call: Call
    pair: _Pair
    jumps: bool
    makers: list[Call]


class Comparison:
    """Finds where measured sizes begin to differ from predicted ones.

    Args:
        graph: `fixinit.graph.Graph` of the model.
        stream: Set of its calls whose sizes are those of the network. What differs in
            a branch alone, and not in what the branch is added to, is not said.
        expected: `Expectation`.
        sizes: `Sizes`, measured.
    """

    def __init__(
        self, graph: Graph, stream: set[Call], expected: Expectation, sizes: Sizes
    ) -> None:
        self.graph, self.expected, self.sizes = graph, expected, sizes
        self.producers, self.consumers = graph.producers(), graph.consumers()
        self._stream = stream
        # Gates and class scores at the end deviate by nothing, whatever they read.
        ends = {call.outputs[0] for call in stream}.union(graph.outputs)
        # What makes up for draws holds the sizes of signals, not those of gradients.
        known = (expected.deviations, expected.drawn)
        self._furthest = max((d[v] for v in ends for d in known), default=0.0)

    def said(self) -> Iterator[str]:
        """Yields a sentence on signals and one on gradients, where these differ."""
        before = {
            call: [self.producers[value] for value in call.inputs]
            for call in self.graph.calls
        }
        forward = list(self._begins(self.graph.calls, before, self._forward))
        if forward:
            yield self._sentence("Signals differ from the prediction at", forward)
            return  # Gradients follow what signals do.
        behind = {
            call: [c for value in call.outputs for c in self.consumers.get(value, [])]
            for call in self.graph.calls
        }
        backward = list(self._begins(self.graph.calls[::-1], behind, self._backward))
        if backward:
            yield self._sentence(
                "Gradients differ from the prediction, on their way back, at", backward
            )

    def _forward(self, call: Call) -> _Pair | None:
        deviation = self.expected.deviations[call.outputs[0]]
        return self._pair(call, "forward", deviation)

    def _backward(self, call: Call) -> _Pair | None:
        # Slopes depend on the signals so far, gradients also on the weights behind.
        return self._pair(call, "backward", self._furthest)

    def _pair(self, call: Call, way: str, deviation: float) -> _Pair | None:
        """The two sizes of a call; `None` if one is not known."""
        predicted, found = (
            getattr(x, way).get(call.name) for x in (self.expected.sizes, self.sizes)
        )
        if call.is_input or predicted is None or found is None:
            return None
        if math.isnan(predicted):
            return None
        return _Pair(predicted, found, deviation)

    def _begins(
        self,
        calls: list[Call],
        before: dict[Call, list[Call]],
        pair_of: Callable[[Call], _Pair | None],
    ) -> Iterator[_Difference]:
        """The first calls, on the way of signals or gradients, where sizes differ."""
        differ: set[Call] = set()
        for call in calls:
            if any(c in differ for c in before[call]):
                differ.add(call)
            elif call in self._stream and _differs(pair_of(call)):
                differ.add(call)
                yield self._origin(call, before, pair_of)

    def _origin(
        self,
        call: Call,
        before: dict[Call, list[Call]],
        pair_of: Callable[[Call], _Pair | None],
    ) -> _Difference:
        """The call nearest to the start from which on sizes differ up to a call."""
        while True:
            earlier = [c for c in before[call] if _differs(pair_of(c))]
            if not earlier:
                break
            call = earlier[0]
        pair = pair_of(call)
        assert pair is not None
        nearest = [abs(p.gap) for p in map(pair_of, before[call]) if p is not None]
        jumps = abs(pair.gap) > 2 * max(nearest, default=0.0)
        makers = [call] if pair_of == self._forward else before[call]
        return _Difference(call, pair, jumps, makers)

    def _sentence(self, start: str, found: list[_Difference]) -> str:
        first, *rest = found
        call, pair = first.call, first.pair
        others = some([difference.call.name for difference in rest])
        more = f" Likewise: {others}." if rest else ""
        return (
            f"{start} `{call.name}` ({type(call.operation).__name__}): mean square "
            f"{pair.predicted:.3g} predicted, {pair.measured:.3g} measured in one "
            f"pass. Likely cause: {self._cause(first)}.{more}"
        )

    def _cause(self, difference: _Difference) -> str:
        call = difference.call
        if not math.isfinite(difference.pair.measured):
            return "numbers outside of the range of the dtype"
        if not difference.jumps:
            return (
                "small differences that add up, as of narrow layers, and of "
                "activations and gates that do more to larger signals"
            )
        if call in difference.makers and call.name in self.expected.assumed:
            return "no variance rule for it, so that its size was assumed"
        assumed = {c.name for c in difference.makers} & self.expected.assumed
        if assumed:
            return (
                f"no variance rule for {some(sorted(assumed))}, so that it was taken "
                "to pass on all that it reads"
            )
        if is_own(type(call.operation)):
            return "a variance rule or facts of it that its `call` does not keep to"
        if is_addition(call) or len(call.inputs) > 1:
            return "inputs that depend on each other more than the closed form knows"
        return "what it reads is not distributed as the closed form takes it to be"
