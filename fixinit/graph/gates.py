"""Finds the gates of a graph: the calls that make factors for a signal."""

from collections.abc import Sequence

from fixinit._checked import checked
from fixinit.graph.block import Block
from fixinit.graph.blocks import find_blocks
from fixinit.graph.calls import Call, Graph
from fixinit.graph.kinds import output_facts
from fixinit.graph.paths import Path, Paths
from fixinit.layers import facts_of


@checked
def find_gates(graph: Graph, blocks: Sequence[Block] | None = None) -> set[Call]:
    """The calls that make factors, as in squeeze-and-excitation.

    A product of two values that share an ancestor has a gate where one of the paths
    from there ends in a bounded activation, such as a sigmoid: that one. Where both do
    or none does, it is the path without residual blocks: a stream has them, a condition
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
        blocks: Sequence of the graph's `Block`s, from `find_blocks`; by default they
            are found here.

    Returns:
        Set of `fixinit.graph.Call`s.
    """
    paths = Paths(graph)
    blocks = find_blocks(graph) if blocks is None else blocks
    streams = {b.merge: b.output for b in blocks if not b.changes_shape}
    gates: set[Call] = set()
    conditions: set[Call] = set()
    products: set[Call] = set()
    for call in graph.calls:
        gate, is_condition = _gate_of(paths, call, streams)
        if gate is None:
            continue
        products.add(call)
        before = [paths.ancestors[streams[c]] for c in gate if c in streams]
        behind = {c for c in gate if not any(b >> c.outputs[0] & 1 for b in before)}
        (conditions if is_condition else gates).update(behind)
    return _unshared(paths, gates - conditions, conditions | products) | conditions


def _gate_of(
    paths: Paths, call: Call, streams: dict[Call, int]
) -> tuple[Path | None, bool]:
    """Which factor of a product is its gate.

    Returns:
        `(path, is_condition)`: the path to the gate, and whether it was told by its
        lack of residual blocks. The path is `None` if the call is no product, or if
        nothing tells its factors apart.
    """
    if not facts_of(call.operation).multiplies or len(call.inputs) != 2:
        return None, False
    fork = paths.fork(call)
    if fork is None:
        return None, False
    pair = paths.from_value(fork, call)
    signs: tuple[list[int], ...] = (
        [_is_bounded(path) for path in pair],
        [not any(c in streams for c in path) for path in pair],
        [sum(c.has_weights for c in path) for path in pair],
    )
    for number, (first, second) in enumerate(signs):
        if first != second:
            return pair[second > first], number == 1
    return None, False


def _is_bounded(path: Path) -> bool:
    """Whether a path ends in a bounded activation, whatever its shape is then."""
    last = next((c for c in path[::-1] if not facts_of(c.operation).rearranges), None)
    return last is not None and output_facts(last.operation).bounded


def _unshared(paths: Paths, gates: set[Call], others: set[Call]) -> set[Call]:
    """The calls of gates that serve nothing but gates and others.

    What something else reads is no part of a gate, nor is what is in front of that.
    """
    found, outputs = set(gates), set(paths.graph.outputs)
    for call in sorted(gates, key=lambda call: call.outputs[0], reverse=True):
        readers = {c for value in call.outputs for c in paths.consumers.get(value, [])}
        if not readers <= found | others or outputs & set(call.outputs):
            found.discard(call)
    return found
