"""Finds out what every layer of a network does: the converter's eyes."""

import collections
import dataclasses

from fixinit.conversion import kinds
from fixinit.conversion.branch import Branch
from fixinit.graph import find_blocks, find_gates, is_activation
from fixinit.graph.blocks import is_addition, output_facts
from fixinit.layers import facts_of
from fixinit.schemes import Site


@dataclasses.dataclass(frozen=True)
class Weight:
    """One weight layer.

    Attributes:
        call: `fixinit.graph.Call`.
        role: A role of `fixinit.schemes.Site`, or `"gate"`: it makes the factors that
            something else is multiplied by, as in squeeze-and-excitation.
        branch: The `Branch` that it is in or, for a projection, beside; or `None`.
        activation: The call of the activation that alone reads its output, its own
            call where it holds one, or `None`.
        is_output: bool, whether it makes an output of the model. The head does; so
            does a layer behind which normalization makes that an embedding, to be
            compared with others, which no scheme may start at zero.
    """

    call: object
    role: str
    branch: Branch | None
    activation: object
    is_output: bool = False


class Survey:
    """What the converter has to know of one graph.

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
        weights: List of `Weight`s.
        activations: Dict from the calls of activations in front of which a scheme may
            want something to `(branch, call)`: the `Branch` and the weight layer that
            they belong to, or `None`. Those that end a block, those on
            shortcuts and gates and those behind the head are not among them.
        unclear: List of names of additions whose inputs share an ancestor and have
            weights on their ways from there, but none of which is the shortcut.
    """

    def __init__(self, graph, removed, num_branches, first_branch=0, inside=False):
        self.graph = graph
        self.removed = removed
        self.num_branches = num_branches
        self.inside = inside
        self.gates = find_gates(graph)
        self.blocks = stream_blocks(graph, self.gates)
        self.consumers, self.producers = graph.consumers(), graph.producers()
        ways = [(block, i) for block in self.blocks for i in block.branches]
        self.branches = [Branch(*way, first_branch + i) for i, way in enumerate(ways)]
        merges = {block.merge for block in self.blocks}
        for branch in self.branches:
            branch.holds_branches = any(
                call in merges or _has_blocks(call) for call in branch.way
            )
            if branch.block.output != branch.block.merge.outputs[0]:
                branch.end_activation = self.producers[branch.block.output]
        self._places = self._find_places()
        self._value_origins, self._origins = self._find_origins()
        for branch in self.branches:
            branch.own({c for c in branch.way if self._is_own(branch, c)})
        self._find_orders()
        self._outputs, self._behind_outputs = self._find_outputs()
        self.weights = self._find_weights()
        self._roles = collections.defaultdict(set)
        for weight in self.weights:
            self._roles[id(weight.call.operation)].add(weight.role)
        self.activations = self._find_activations()
        self.unclear = self._find_unclear()

    def branch_of(self, block, position):
        """The branch that is an input of a block's merge."""
        return next(
            b
            for b in self.branches
            if b.block is block and b.value == block.merge.inputs[position]
        )

    def _find_places(self):
        """Dict from calls to `(branch, block)`: the first block that they are in.

        Blocks are in the order of their ends, so the inner one of two comes first.
        On a shortcut the branch is `None`.
        """
        places = {}
        for block in self.blocks:
            for position, way in enumerate(block.ways):
                branch = None
                if position in block.branches:
                    branch = self.branch_of(block, position)
                for call in way:
                    places.setdefault(call, (branch, block))
            places.setdefault(block.merge, (None, block))
        return places

    def _is_own(self, branch, call):
        is_weight = call.has_weights and not self.removed(call.operation)
        inside = self._places[call][0] is branch
        return is_weight and inside and call not in self.gates

    def _find_orders(self):
        """Finds which branches are in pre-activation order."""
        for branch in self.branches:
            branch.preactivation = branch.starts_with_activation()
        ends = {b.output for b in self.blocks if b.output != b.merge.outputs[0]}
        if ends or not any(b.preactivation for b in self.branches):
            return
        # Where the shortcut reads the activated input too, both begin behind it.
        for branch in self.branches:
            start = self.producers[branch.block.input]
            branch.preactivation = branch.preactivation or is_activation(start)

    def _find_outputs(self):
        """The weight layers that make the model's outputs, and the calls behind them.

        Returns:
            `(layers, behind)`: a dict from the calls of such layers to whether they
            are heads, as no normalization follows, and a set of calls.
        """
        found, behind = {}, {}
        for value in [] if self.inside else self.graph.outputs:
            passed, call = [], self.producers[value]
            while self._may_be_behind(call):
                passed.append(call)
                call = self.producers[call.inputs[0]]
            is_known = bool(kinds.kernel_arguments(call.operation))
            alone = all(self._is_read_once(c, value) for c in [call, *passed])
            if is_known and alone and call not in self._places and _may_end(call):
                normalized = any(kinds.is_normalization(c.operation) for c in passed)
                found[call] = not normalized
                behind[call] = passed
        # A layer that the model also calls elsewhere is nothing that ends it.
        calls = collections.Counter(id(call.operation) for call in self.graph.calls)
        ends = collections.Counter(id(call.operation) for call in found)
        found = {
            call: is_head
            for call, is_head in found.items()
            if ends[id(call.operation)] == calls[id(call.operation)]
        }
        return found, {passed for call in found for passed in behind[call]}

    def _may_be_behind(self, call):
        """Whether a call may stand between the last weight layer and an output."""
        if call.is_input or call in self._places or call.has_weights:
            return False
        follows = facts_of(call.operation).follows_head
        normalizes = kinds.is_normalization(call.operation)
        return follows or normalizes or kinds.is_factor(call)

    def _is_read_once(self, call, output):
        """Whether nothing but what leads to one output of the model reads a call."""
        value = call.outputs[0]
        readers = len(self.consumers.get(value, []))
        if value == output:
            return readers == 0
        return readers == 1 and value not in self.graph.outputs

    def _find_weights(self):
        found, fed = [], {}  # whether a weight layer stands in front of a value
        for call in self.graph.calls:
            before = any(fed.get(value, self.inside) for value in call.inputs)
            is_weight = call.has_weights and not self.removed(call.operation)
            if is_weight:
                found.append(self._weight(call, is_first=not before))
            fed.update(dict.fromkeys(call.outputs, before or is_weight))
        return found

    def _weight(self, call, is_first):
        branch, block = self._places.get(call, (None, None))
        if call in self.gates:
            role = "gate"
        elif branch is not None:
            role = "branch"
        elif block is not None:
            role = "projection"
            branch = self.branch_of(block, block.branches[0])
        else:
            role = "stem" if is_first else "trunk"
            role = "head" if self._outputs.get(call) else role
        is_output = call in self._outputs
        return Weight(call, role, branch, self._activation_behind(call), is_output)

    def origin(self, call):
        """What tells what a call reads from what other calls read.

        It is the same for what one layer with weights gives wherever it is called, and
        for what layers without weights make of that. Of several calls of one kind on
        one value, each has its own.
        """
        return self._origins[call]

    def value_origin(self, value):
        """What tells one value from others: see `origin`."""
        return self._value_origins[value]

    def _find_origins(self):
        """Dicts from values and from calls to what tells them apart."""
        numbers, values, calls = {}, {}, {}
        uses = collections.Counter()
        for call in self.graph.calls:
            read = tuple(values[value] for value in call.inputs)
            use = type(call.operation), call.inputs
            calls[call] = read, uses[use]
            uses[use] += 1
            weights = getattr(call.operation, "weights", ())
            if self.removed(call.operation) and len(read) == 1:
                values.update(dict.fromkeys(call.outputs, read[0]))
                continue
            for position, value in enumerate(call.outputs):
                key = (id(call.operation), position, () if weights else read)
                values[value] = numbers.setdefault(key, len(numbers))
        return values, calls

    def splits(self, call):
        """Whether the activation that a weight layer holds may become its own layer.

        What heads and gates hold stays, and so does what is one of those elsewhere.
        """
        return not self._roles[id(call.operation)] & {"head", "gate"}

    def trunk_site(self, role="trunk"):
        """A `Site` outside of the branches."""
        index = self.num_branches - 1 if role == "head" else 0
        preactivation = any(b.preactivation for b in self.branches)
        return Site(index, self.num_branches, 0, 1, preactivation, role)

    def _activation_behind(self, call):
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

    def _find_activations(self):
        ends = {b.output for b in self.blocks} | {
            v for call in self._behind_outputs for v in call.outputs
        }
        found = {}
        for call in self.graph.calls:
            branch, block = self._places.get(call, (None, None))
            on_shortcut = branch is None and block is not None
            if not is_activation(call) or call in self.gates or on_shortcut:
                continue
            # A shift of all channels would do nothing to what compares them.
            compares = output_facts(call.operation).compares_channels
            if call.outputs[0] in ends or compares:
                continue
            weight = None if branch is None else self._nearest_weight(branch, call)
            found[call] = branch, weight
        return found

    def owner(self, call):
        """`(branch, call)`: the branch a call is in, and the weight layer nearest."""
        branch, _ = self._places.get(call, (None, None))
        return branch, None if branch is None else self._nearest_weight(branch, call)

    def _nearest_weight(self, branch, call):
        """The call of the weight layer that an activation belongs to, or `None`."""
        value = call.outputs[0]
        before = [w for w in branch.weights if w.outputs[0] < value]
        behind = [w for w in branch.weights if w.outputs[0] > value]
        nearest = before[-1:] or behind[:1]
        if branch.preactivation:
            nearest = behind[:1] or before[-1:]
        return next(iter(nearest), None)

    def _find_unclear(self):
        ancestors, merges = self.graph.ancestors(), {b.merge for b in self.blocks}
        weights = 0
        for call in self.graph.calls:
            if call.has_weights:
                weights |= 1 << call.outputs[0]
        names = []
        for call in self.graph.calls:
            if is_addition(call) and call not in merges:
                common, union = -1, 0
                for value in call.inputs:
                    common &= ancestors[value]
                    union |= ancestors[value]
                if common and union & ~common & weights:
                    names.append(call.name)
        return names


def stream_blocks(graph, gates=None):
    """The residual blocks of a graph, without those of its gates."""
    gates = find_gates(graph) if gates is None else gates
    return [block for block in find_blocks(graph) if block.merge not in gates]


def _has_blocks(call):
    """Whether a call is that of a stack with residual blocks."""
    return call.body is not None and bool(stream_blocks(call.body))


def _may_end(call):
    """Whether what a weight layer puts out may be class scores or estimates."""
    operation = kinds.unwrapped(call.operation)
    held = getattr(operation, "activation", None)
    return held is None or facts_of(held).follows_head
