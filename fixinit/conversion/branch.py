"""One residual branch, as the converter sees it."""

from collections.abc import Callable, Iterable
from typing import Any

from fixinit.conversion import kinds
from fixinit.graph import Block, Call, is_activation
from fixinit.schemes import Site


class Branch:
    """One branch of a residual block, with the weight layers that are its own.

    Args:
        block: `fixinit.graph.Block`.
        position: int, index of the branch among the inputs of the block's merge.
        index: int, counted over the whole network.

    Attributes:
        block: `fixinit.graph.Block`.
        starts: Tuple of ints, the values at which it starts.
        path: Tuple of the `fixinit.graph.Call`s on it.
        value: int, what the merge reads of it.
        index: int, counted over the whole network.
        preactivation: bool, whether activations stand in front of weight layers.
        weights: List of the calls of its own weight layers, in order: neither those
            of blocks inside of it nor those of gates.
        last: Set of those that no other one follows.
        feeds: Set of those that make the stream of a block inside of it.
        holds_branches: bool, whether residual branches lie inside of it.
        is_shut: bool, whether the model's author has it start at zero by a factor.
        end_activation: The call of the activation that reads the sum alone, in
            networks whose blocks end so; or `None`.
    """

    def __init__(self, block: Block, position: int, index: int) -> None:
        self.block = block
        self.starts = block.starts[position]
        self.path = block.paths[position]
        self.value = block.merge.inputs[position]
        self.index = index
        self.preactivation = False
        self.holds_branches = self.is_shut = False
        self.end_activation: Call | None = None
        self.weights: list[Call] = []
        self.last: set[Call] = set()
        self.feeds: set[Call] = set()
        self._layers: dict[Call, int] = {}

    def own(self, weights: set[Call]) -> None:
        """Takes its own weight layers."""
        self.weights = [call for call in self.path if call in weights]
        self._layers = self._count(self.path, lambda call: call.inputs, "outputs")
        behind = self._count(self.path[::-1], lambda call: call.outputs, "inputs")
        self.last = {call for call in self.weights if behind[call] == 0}

    def _count(
        self,
        path: Iterable[Call],
        before: Callable[[Call], tuple[int, ...]],
        after: str,
    ) -> dict[Call, int]:
        """Dict from its weight layers to the most others in a row before each."""
        depths: dict[int, int] = {}
        found: dict[Call, int] = {}
        for call in path:
            depth = max((depths.get(value, 0) for value in before(call)), default=0)
            if call in self.weights:
                found[call] = depth
                depth += 1
            for value in getattr(call, after):
                depths[value] = max(depth, depths.get(value, 0))
        return found

    @property
    def depth(self) -> int:
        """m: the most weight layers in a row, at least 1."""
        return max(self._layers.values(), default=0) + 1

    def site(
        self,
        num_branches: int,
        call: Call | None = None,
        role: str = "branch",
        zeroed: bool = True,
    ) -> Site:
        """The `Site` of one of its weight layers, by default of its end.

        Args:
            num_branches: int, of the whole network.
            call: `Call`, the weight layer.
            role: The site's role.
            zeroed: bool. `False` where a multiplier that starts at 0 takes the last
                weight layer's part: it counts as one layer more.
        """
        depth = self.depth + (not zeroed)
        layer = self.depth - 1
        if call in self._layers and call not in self.last:
            # One path may have fewer layers than another beside it.
            layer = min(self._layers[call], max(layer - 1, 0))
        layer = 0 if role == "projection" else layer
        return Site(self.index, num_branches, layer, depth, self.preactivation, role)

    def nearest_weight(self, call: Call) -> Call | None:
        """The weight layer that an activation of the branch belongs to, or `None`.

        It is the one in front of the activation, or, in pre-activation order, the one
        that the activation stands in front of.
        """
        value = call.outputs[0]
        before = [w for w in self.weights if w.outputs[0] < value]
        behind = [w for w in self.weights if w.outputs[0] > value]
        nearest = before[-1:] or behind[:1]
        if self.preactivation:
            nearest = behind[:1] or before[-1:]
        return next(iter(nearest), None)

    def starts_with_activation(self) -> bool:
        """Whether an activation stands in front of its first weight layer."""
        first = self.weights[0].outputs[0] if self.weights else self.value
        return any(is_activation(c) and c.outputs[0] < first for c in self.path)

    def closes(self, survey: Any, may_be_zero: Callable[[Call], bool]) -> bool:
        """Whether zeros as its last kernels make it zero, and can be trained away.

        Every path has to go through these kernels, nothing else may read their outputs,
        what follows has to be linear, since its slope at 0 may be 0 otherwise, and no
        branches may lie inside, whose zeros would multiply with these.

        Args:
            survey: `Survey` of the graph.
            may_be_zero: Callable from the call of a weight layer to whether its kernel
                can be made zero, and trained.
        """
        if self.holds_branches or self.is_shut or not self.last:
            return False
        if not all(may_be_zero(call) for call in self.last):
            return False
        gates, producers = survey.gates, survey.producers
        tail = self._tail(producers, gates)
        if tail is None:
            return False
        inside = {producers[value] for value in tail} - self.last
        readers = {c for value in tail for c in survey.consumers.get(value, [])}
        allowed = inside | {self.block.merge} | gates
        linear = all(
            survey.removed(call.operation) or kinds.is_linear(call, gates)
            for call in inside
        )
        outputs = tail & set(survey.graph.outputs)
        return linear and not (readers - allowed or outputs)

    def _tail(self, producers: dict[int, Call], gates: set[Call]) -> set[int] | None:
        """The values behind the last weight layers; `None` if a path misses those."""
        found: set[int] = set()
        pending = [self.value]
        while pending:
            value = pending.pop()
            if value in self.starts:
                return None
            if value in found or producers[value] in gates:
                continue
            found.add(value)
            if producers[value] not in self.last:
                pending += producers[value].inputs
        return found
