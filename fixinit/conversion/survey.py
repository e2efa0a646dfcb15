"""Finds out what every layer of a network does: the converter's eyes."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

from fixinit.conversion import given, kinds
from fixinit.conversion.branch import Branch
from fixinit.conversion.chains import chain_behind, chain_gain
from fixinit.conversion.origins import find_origins
from fixinit.conversion.outputs import find_outputs
from fixinit.graph import Block, Call, Graph, find_blocks, find_gates, is_activation
from fixinit.graph.kinds import output_facts
from fixinit.schemes import Site


@dataclasses.dataclass(frozen=True)
class Weight:
    """One weight layer.

    Attributes:
        call: `fixinit.graph.Call`.
        role: A role of `fixinit.schemes.Site`, or `"gate"`: it makes the factors that
            something else is multiplied by, as in squeeze-and-excitation. What makes
            the stream of a block inside of a branch is `"trunk"`.
        branch: The `Branch` that it is in or, for a projection, beside; or `None`.
        activation: The call of the activation that alone reads its output, its own
            call where it holds one, or `None`.
        is_output: bool, whether it makes an output of the model. The head does; so
            does a layer behind which normalization makes that an embedding, to be
            compared with others, which no scheme may start at zero.
        gain: float, that of the operations behind it which together are an activation:
            see `fixinit.conversion.chains`; 1 without such ones.
    """

    call: Call
    role: str
    branch: Branch | None
    activation: Call | None
    is_output: bool = False
    gain: float = 1.0


class Survey:
    """The branches, weight layers and activations of one graph, and their roles.

    Args:
        graph: `fixinit.graph.Graph`.
        removed: Callable from an operation to whether it will be taken out.
        num_branches: int, residual branches of the whole network, at least 1.
        first_branch: int, index of the graph's first branch.
        inside: bool. Whether the graph is that of a block in a stack.

    Attributes:
        consumers, producers: Those of the graph.
        blocks: List of `fixinit.graph.Block`s.
        gates: Set of calls, see `fixinit.graph.find_gates`.
        branches: List of `Branch`es. Of two around a layer the inner one comes first.
        places: Dict from calls to `(branch, block)`: the innermost block that they are
            in, and its branch, `None` on the shortcut.
        weights: List of `Weight`s.
        activations: Dict from the calls of activations in front of which a scheme may
            want something to `(branch, call)`: the `Branch` and the weight layer that
            they belong to, or `None`. Those that end a block, those on shortcuts and
            gates and those behind the head are not among them.
    """

    def __init__(
        self,
        graph: Graph,
        removed: Callable[[Any], bool],
        num_branches: int,
        first_branch: int = 0,
        inside: bool = False,
    ) -> None:
        self.graph = graph
        self.removed = removed
        self.num_branches = num_branches
        self.inside = inside
        self.consumers, self.producers = graph.consumers(), graph.producers()
        self._ancestors = graph.ancestors()
        blocks = find_blocks(graph)
        self.gates = find_gates(graph, blocks)
        self.blocks = [block for block in blocks if block.merge not in self.gates]
        self.branches = self._find_branches(first_branch)
        self.places = self._find_places()
        for branch in self.branches:
            branch.own({c for c in branch.path if self._is_own(branch, c)})
            branch.feeds = self._feeds(branch)
        self._find_orders()
        self._value_origins, self._origins = find_origins(graph, removed)
        self._outputs, self._behind_outputs = find_outputs(self)
        self.weights = self._find_weights()
        self._roles = collections.defaultdict(set)
        for weight in self.weights:
            self._roles[id(weight.call.operation)].add(weight.role)
        self.activations = self._find_activations()

    def branch_of(self, block: Block, position: int) -> Branch:
        """The branch that is an input of a block's merge."""
        value = block.merge.inputs[position]
        return next(b for b in self.branches if b.block is block and b.value == value)

    def owner(self, call: Call) -> tuple[Branch | None, Call | None]:
        """`(branch, call)`: the branch a call is in, and the nearest weight layer."""
        branch, _ = self.places.get(call, (None, None))
        return branch, None if branch is None else branch.nearest_weight(call)

    def origin(self, call: Call) -> Any:
        """What tells what a call reads from what other calls read: `find_origins`."""
        return self._origins[call]

    def value_origin(self, value: int) -> int:
        """What tells one value from others: see `find_origins`."""
        return self._value_origins[value]

    def splits(self, call: Call) -> bool:
        """Whether the activation that a weight layer holds may become its own layer.

        What heads and gates hold stays, and so does what is one of those elsewhere.
        """
        return not self._roles[id(call.operation)] & {"head", "gate"}

    def trunk_site(self, role: str = "trunk") -> Site:
        """A `Site` outside of the branches."""
        index = self.num_branches - 1 if role == "head" else 0
        preactivation = any(b.preactivation for b in self.branches)
        return Site(index, self.num_branches, 0, 1, preactivation, role)

    def _find_branches(self, first: int) -> list[Branch]:
        """The branches of all blocks, numbered from `first`."""
        merges = {block.merge for block in self.blocks}
        ends = [(block, i) for block in self.blocks for i in block.branches]
        branches = [Branch(*end, first + index) for index, end in enumerate(ends)]
        for branch in branches:
            branch.holds_branches = any(
                call in merges or _has_blocks(call) for call in branch.path
            )
            branch.is_shut = given.shuts(branch.path, self.producers)
            if branch.block.output != branch.block.merge.outputs[0]:
                branch.end_activation = self.producers[branch.block.output]
        return branches

    def _find_places(self) -> dict[Call, tuple[Branch | None, Block]]:
        """Dict from calls to `(branch, block)`: the first block that they are in.

        Blocks are in the order of their ends, so the inner one of two comes first.
        """
        places: dict[Call, tuple[Branch | None, Block]] = {}
        for block in self.blocks:
            for position, path in enumerate(block.paths):
                branch = None
                if position in block.branches:
                    branch = self.branch_of(block, position)
                for call in path:
                    places.setdefault(call, (branch, block))
            places.setdefault(block.merge, (None, block))
        return places

    def _is_own(self, branch: Branch, call: Call) -> bool:
        """Whether a call is that of a weight layer of a branch itself."""
        is_weight = call.has_weights and not self.removed(call.operation)
        inside = self.places[call][0] is branch
        return is_weight and inside and call not in self.gates

    def _feeds(self, branch: Branch) -> set[Call]:
        """The weight layers of a branch that make the stream of a block inside."""
        if not branch.holds_branches:
            return set()
        path, made = set(branch.path), 0
        starts = [block.input for block in self.blocks if block.merge in path]
        starts += [call.inputs[0] for call in path if _has_blocks(call)]
        for value in starts:
            made |= self._ancestors[value]
        return {call for call in branch.weights if made >> call.outputs[0] & 1}

    def _find_orders(self) -> None:
        """Finds which branches are in pre-activation order."""
        for branch in self.branches:
            branch.preactivation = branch.starts_with_activation()
        ends = {b.output for b in self.blocks if b.output != b.merge.outputs[0]}
        # Where the shortcut reads the activated input too, both begin behind it.
        activated = [
            all(is_activation(self.producers[value]) for value in branch.starts)
            for branch in self.branches
        ]
        projects = all(branch.block.changes_shape for branch in self.branches)
        every = len(activated) > 1 and all(activated) and projects
        if ends or not (every or any(b.preactivation for b in self.branches)):
            return
        for branch, is_activated in zip(self.branches, activated, strict=True):
            branch.preactivation = branch.preactivation or is_activated

    def _find_weights(self) -> list[Weight]:
        found = []
        fed: dict[int, bool] = {}  # whether a weight layer stands in front of a value
        for call in self.graph.calls:
            before = any(fed.get(value, self.inside) for value in call.inputs)
            is_weight = call.has_weights and not self.removed(call.operation)
            if is_weight:
                found.append(self._weight(call, is_first=not before))
            fed.update(dict.fromkeys(call.outputs, before or is_weight))
        return found

    def _weight(self, call: Call, is_first: bool) -> Weight:
        branch, block = self.places.get(call, (None, None))
        if call in self.gates:
            role = "gate"
        elif branch is not None:
            # The stream of a block inside of a branch is a stream like any other.
            role = "trunk" if call in branch.feeds else "branch"
        elif block is not None:
            role = "projection"
            branch = self.branch_of(block, block.branches[0])
        else:
            role = "stem" if is_first else "trunk"
            role = "head" if self._outputs.get(call) else role
        is_output = call in self._outputs
        activation = self._activation_behind(call)
        gain = self._chain_gain(call) if activation is None else 1.0
        return Weight(call, role, branch, activation, is_output, gain)

    def _chain_gain(self, call: Call) -> float:
        """The gain of the operations that make an activation behind a weight layer."""
        value = call.outputs[0]
        readers = self.consumers.get(value, [])
        while len(readers) == 1 and self.removed(readers[0].operation):
            value = readers[0].outputs[0]
            readers = self.consumers.get(value, [])
        chain = chain_behind(self.graph, value) if len(readers) else ()
        return chain_gain(value, chain) if chain else 1.0

    def _activation_behind(self, call: Call) -> Call | None:
        """The activation that alone reads a weight layer, across what is taken out."""
        if kinds.is_fused(call):
            return call
        value = call.outputs[0]
        while True:
            readers = self.consumers.get(value, [])
            if len(readers) != 1:
                return None
            if is_activation(readers[0]):
                return readers[0]
            if not self.removed(readers[0].operation):
                return None
            value = readers[0].outputs[0]

    def _find_activations(self) -> dict[Call, tuple[Branch | None, Call | None]]:
        ends = {block.output for block in self.blocks}
        ends |= {value for call in self._behind_outputs for value in call.outputs}
        found = {}
        for call in self.graph.calls:
            branch, block = self.places.get(call, (None, None))
            on_shortcut = branch is None and block is not None
            if not is_activation(call) or call in self.gates or on_shortcut:
                continue
            # A shift of all channels would do nothing to what compares them.
            compares = output_facts(call.operation).compares_channels
            if call.outputs[0] not in ends and not compares:
                found[call] = self.owner(call)
        return found


def stream_blocks(graph: Graph) -> list[Block]:
    """The residual blocks of a graph, without those of its gates."""
    blocks = find_blocks(graph)
    gates = find_gates(graph, blocks)
    return [block for block in blocks if block.merge not in gates]


def _has_blocks(call: Call) -> bool:
    """Whether a call is that of a stack with residual blocks."""
    return call.body is not None and bool(stream_blocks(call.body))
