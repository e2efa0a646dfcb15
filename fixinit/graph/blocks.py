"""Finds residual blocks in a graph: additions of what has gone two ways."""

import dataclasses

from fixinit.layers import Facts, facts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One residual block: `output = merge(shortcut, branches)`.

    Attributes:
        name: String. Ours: the name of the `ResidualBlock`. Otherwise that of the
            call that merges.
        merge: The `Call` that adds.
        input: int. The value at which the ways part.
        shortcut: int. Index of the shortcut among the inputs of `merge`.
        branches: Tuple of ints, the indices of the other inputs.
        branch_depth: int. Weight layers in the longest branch (m).
        output: int. The block's output: the sum, or, in a network whose blocks end
            in an activation, that.
        changes_shape: bool. Whether the shortcut has weights or changes the shape.
        weights: Tuple of the names of the branches' weight layers.
        ways: For each input of `merge`, the tuple of the `Call`s between `input` and
            it.
    """

    name: str
    merge: object
    input: int
    shortcut: int
    branches: tuple
    branch_depth: int
    output: int
    changes_shape: bool
    weights: tuple
    ways: tuple

    @property
    def calls(self):
        """Tuple of the `Call`s between `input` and the sum, which is the last."""
        inside = dict.fromkeys(call for way in self.ways for call in way)
        return (*inside, self.merge)

    def addends(self, inputs):
        """What the merge adds up, from the tensors that it reads.

        Returns:
            `(shortcut, branches)`: two tensors, each times its factor where the merge
            has factors, as a `fixinit.layers.ScaledAdd` has.
        """
        scales = facts_of(self.merge.operation).factors
        if scales is not None:
            inputs = [scale * h for scale, h in zip(scales, inputs, strict=True)]
        return inputs[self.shortcut], sum(inputs[i] for i in self.branches)


def find_blocks(graph):
    """The residual blocks of a graph, from its input to its output.

    A residual block ends in an addition (`keras.layers.Add`, `+`, `keras.ops.add`,
    `fixinit.layers.ScaledAdd` or the layer that scales and adds in InceptionResNetV2)
    of values that share an ancestor. The shortcut is the one that can be reached from
    there through the fewest weight layers, and of several such the one with the fewest
    on its longest way. Where two share that place, it is the one that is
    the ancestor itself; where there is none, as in Inception-like modules, and where
    no way has weights, the addition is no residual block. Nor is it where shapes are
    broadcast, or where no input is the ancestor itself and something that does not
    depend on it enters on one of the ways: which of them is the stream is unknown.

    A weight layer is any layer that holds a matrix: attention, a recurrent layer or a
    layer around others are one each. An addition inside of such a layer is not seen.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> x = keras.layers.Dense(8, name="weight1")(keras.ops.relu(x)) + x
    >>> graph = fixinit.graph.trace(keras.Model(inputs, x))
    >>> (block,) = fixinit.graph.find_blocks(graph)
    >>> block.branch_depth, block.weights
    (1, ('weight1',))

    Args:
        graph: `fixinit.graph.Graph`. Blocks inside of a stack are found in the graph
            of its body.

    Returns:
        List of `Block`s.
    """
    ways = _Ways(graph)
    found = [ways.block(call) for call in graph.calls if is_addition(call)]
    found = [block for block in found if block is not None]
    ends = [ways.activation(block) for block in found]
    # Behind the last sum of a pre-activation network, the head has an activation too.
    if not all(ends[:-1]):
        ends = [None] * len(found)
    return [
        dataclasses.replace(block, output=(end or block.merge).outputs[0])
        for block, end in zip(found, ends, strict=True)
    ]


def find_gates(graph):
    """The calls that make factors, as in squeeze-and-excitation.

    A product of two values that share an ancestor has a gate where one of the ways from
    there ends in a bounded activation, such as a sigmoid: that one. Where both do or
    none does, it is the way without residual blocks: a stream has them, a condition
    that scales it has none. Where that is so of both or none, it is the one with more
    weight layers. Residual blocks, and what is in front of them, are no part of a gate,
    nor is what serves something else too, conditions aside.

    Example:

    >>> inputs = keras.Input((8,))
    >>> gate = keras.layers.Dense(8, "sigmoid", name="gate")(inputs)
    >>> model = keras.Model(inputs, keras.layers.multiply([inputs, gate]))
    >>> gates = fixinit.graph.find_gates(fixinit.graph.trace(model))
    >>> [call.name for call in gates]
    ['gate']

    Args:
        graph: `fixinit.graph.Graph`.

    Returns:
        Set of `fixinit.graph.Call`s.
    """
    ways, found, shared, products = _Ways(graph), set(), set(), set()
    blocks = find_blocks(graph)
    merges = {b.merge: ways.ancestors[b.output] for b in blocks if not b.changes_shape}
    for call in graph.calls:
        if facts_of(call.operation).multiplies and len(call.inputs) == 2:
            _, pair = ways.from_fork(call)
            if pair is None:
                continue
            held = [[merges[c] for c in way if c in merges] for way in pair]
            signs = (
                [_is_bounded(way) for way in pair],
                [not inside for inside in held],
                [sum(c.has_weights for c in way) for way in pair],
            )
            sign = next((sign for sign in signs if len(set(sign)) == 2), None)
            if sign is None:
                continue
            index = sign.index(max(sign))
            products.add(call)
            behind = {
                c
                for c in pair[index]
                if not any(before >> c.outputs[0] & 1 for before in held[index])
            }
            (shared if sign is signs[1] else found).update(behind)
    # What something else reads too is no part of a gate, nor is what is before that.
    for call in sorted(found - shared, key=lambda call: call.outputs[0], reverse=True):
        readers = {c for value in call.outputs for c in ways.consumers.get(value, [])}
        inside = readers <= found | shared | products
        if not inside or set(call.outputs) & set(graph.outputs):
            found.discard(call)
    return found | shared


def _is_bounded(way):
    """Whether a way ends in a bounded activation."""
    last = next((c for c in way[::-1] if not facts_of(c.operation).rearranges), None)
    return last is not None and output_facts(last.operation).bounded


def output_facts(operation) -> Facts:
    """The facts of the activation that an operation holds, otherwise its own."""
    held = getattr(operation, "activation", None)
    return facts_of(operation if held is None else held)


def is_addition(call):
    """Whether a call adds two or more values."""
    is_merge = call.owner is not None and call.operation is call.owner.merge
    # Of what it reads twice, it adds two.
    reads = len(call.inputs) if call.node is None else len(call.node.input_tensors)
    adds = facts_of(call.operation).adds or is_merge
    return adds and reads == len(call.inputs) > 1


def is_activation(call):
    """Whether a call is that of an element-wise activation and nothing else."""
    return len(call.inputs) == 1 and facts_of(call.operation).activates


class _Ways:
    """The ways through a graph."""

    def __init__(self, graph):
        self.graph = graph
        self.consumers = graph.consumers()
        self.producers = graph.producers()
        self.ancestors = graph.ancestors()

    def block(self, merge):
        """The residual block that ends in `merge`, `None` if none does."""
        nearest, ways = self.from_fork(merge)
        fork = nearest
        while not (ways is None or fork in merge.inputs or self._is_closed(fork, ways)):
            # What is shared, as the normalization in front of parallel branches, may
            # stand behind the place where the stream itself parts.
            fork, ways = self._further(fork, merge)
        if ways is None:
            return None
        weights = [
            _weight_layers(fork, value, way)
            for value, way in zip(merge.inputs, ways, strict=True)
        ]
        depths = [depths for *depths, _ in weights]
        shortcut = _shortcut(merge.inputs, depths, fork)
        shapes = [self.graph.specs[value].shape for value in merge.inputs]
        if shortcut is None or not _are_alike(shapes):
            return None
        if fork != nearest and not self._is_stream(merge.inputs[shortcut], fork):
            return None
        branches = tuple(i for i in range(len(depths)) if i != shortcut)
        specs = self.graph.specs
        return Block(
            name=merge.name if merge.owner is None else merge.name.rpartition("/")[0],
            merge=merge,
            input=fork,
            shortcut=shortcut,
            branches=branches,
            branch_depth=max(longest for _, longest in depths),
            output=merge.outputs[0],
            changes_shape=depths[shortcut][0] > 0
            or specs[merge.inputs[shortcut]].shape != specs[fork].shape,
            weights=tuple(dict.fromkeys(n for i in branches for n in weights[i][2])),
            ways=ways,
        )

    def from_fork(self, call):
        """`(value, ways)`: the nearest that all inputs depend on, and the ways there.

        Both are `None` where the inputs have nothing in common.
        """
        common = -1
        for value in call.inputs:
            common &= self.ancestors[value]
        if not common:
            return None, None
        # Values are numbered in the order of the calls: the last one is the nearest.
        fork = common.bit_length() - 1
        return fork, tuple(self._between(fork, value) for value in call.inputs)

    def _further(self, fork, merge):
        """The same from in front of what gives `fork`, if that has no weights."""
        before = self.producers[fork]
        if len(before.inputs) != 1 or before.has_weights:
            return None, None
        (fork,) = before.inputs
        return fork, tuple(self._between(fork, value) for value in merge.inputs)

    def _is_stream(self, value, fork):
        """Whether a value is `fork`, or that and what parallel branches have added."""
        if value == fork:
            return True
        before = self.producers[value]
        block = self.block(before) if is_addition(before) else None
        return block is not None and block.input == fork

    def _is_closed(self, fork, ways):
        """Whether all that is read on some ways depends on where they part."""
        read = {value for way in ways for call in way for value in call.inputs}
        return all(self.ancestors[value] >> fork & 1 for value in read)

    def _between(self, start, end):
        """The calls on the ways from `start` to `end`, in order."""
        found, pending = set(), [end]
        while pending:
            value = pending.pop()
            call = self.producers[value]
            if value == start or call in found:
                continue
            found.add(call)
            pending += [v for v in call.inputs if self.ancestors[v] >> start & 1]
        return tuple(sorted(found, key=lambda call: call.outputs[0]))

    def activation(self, block):
        """The activation that alone reads the sum, `None` without one."""
        merge = block.merge
        readers = self.consumers.get(merge.outputs[0], [])
        if len(readers) != 1 or readers[0].owner is not merge.owner:
            return None
        return readers[0] if is_activation(readers[0]) else None


def _are_alike(shapes):
    """Whether shapes may be the same: where a size is not known, it may be any."""
    # One of unknown size beside a 1 is broadcast.
    return len({len(shape) for shape in shapes}) == 1 and all(
        len({size for size in sizes if size is not None}) <= 1 and {*sizes} != {1, None}
        for sizes in zip(*shapes, strict=True)
    )


def _shortcut(values, depths, fork):
    """The index of the value that is the shortcut, `None` if none is."""
    fewest = [i for i, depth in enumerate(depths) if depth == min(depths)]
    if len(fewest) > 1:
        fewest = [i for i in fewest if values[i] == fork]
    has_weights = max(longest for _, longest in depths) > 0
    return fewest[0] if len(fewest) == 1 and has_weights else None


def _weight_layers(start, end, between):
    """`(fewest, most, names)`: numbers of weight layers in a row, and all of them."""
    fewest, most, names = {start: 0}, {start: 0}, []
    for call in between:
        # What a call reads beside has come another way.
        read = [value for value in call.inputs if value in most]
        if call.has_weights:
            names.append(call.name)
        for value in call.outputs:
            fewest[value] = min(fewest[v] for v in read) + call.has_weights
            most[value] = max(most[v] for v in read) + call.has_weights
    return fewest[end], most[end], names
