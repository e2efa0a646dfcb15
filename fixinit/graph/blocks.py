"""Finds residual blocks in a graph: additions whose inputs share an ancestor."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fixinit._checked import checked
from fixinit.graph.block import Block
from fixinit.graph.calls import Call, Graph
from fixinit.graph.conditions import are_conditions
from fixinit.graph.coupled import first_exchanges
from fixinit.graph.kinds import is_activation, is_addition
from fixinit.graph.mixing import mix
from fixinit.graph.paths import Path, Paths
from fixinit.graph.streams import Exchange, Streams
from fixinit.graph.weighted import is_weighted_sum
from fixinit.layers import facts_of


@checked
def find_blocks(graph: Graph) -> list[Block]:
    """The residual blocks of a graph, from its input to its output.

    A residual block ends in an addition (`keras.layers.Add`, `+`, `keras.ops.add`,
    `fixinit.layers.ScaledAdd` or any layer that declares in its `fixinit.layers.Facts`
    that it adds, as differences do) of values that share an ancestor. The shortcut is
    the one that can be reached from there through the fewest weight layers, and of
    several such the one with the fewest on its longest path. Where two share that
    place, it is the one that is the ancestor itself; where there is none, as in
    Inception-like modules, the addition is no residual block. Where no path has
    weights, it is one if something else than the ancestor itself mixes positions or
    channels, as pooling and Fourier transforms do, and nothing is taken away: those
    paths are run on random numbers. Nor is it where shapes are broadcast, where all
    that is added are products of values and gates beside them, or where no input is
    the ancestor itself and something that does not depend on it enters on one of the
    paths, unless that is a condition: it is broadcast, or serves other places too, as
    the embedding of a time step does.

    Where several streams exchange what they hold, as in reversible networks and
    between resolutions, each has blocks of its own: their branches begin at the other
    stream.

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
    paths = Paths(graph)
    found = _found(paths, {})
    if first := first_exchanges(paths, found):
        found = _found(paths, first)
    ends = [_end_activation(paths, block) for block in found]
    # Behind the last sum of a pre-activation network, the head has an activation too.
    if not all(ends[:-1]):
        return found
    return [
        dataclasses.replace(block, output=(end or block.merge).outputs[0])
        for block, end in zip(found, ends, strict=True)
    ]


def _found(paths: Paths, first: Mapping[Call, Exchange]) -> list[Block]:
    """The blocks of a graph, where those that start coupled streams are known."""
    streams = Streams(paths)
    for call in filter(is_addition, paths.graph.calls):
        if call in first:
            block = _parted(paths, call, *first[call])
        else:
            block = _block(paths, call, streams)
        if block is not None:
            for inner in _parts(paths, block, streams):
                streams.drop(inner)
            streams.add(block)
    return list(streams.blocks.values())


def _block(paths: Paths, merge: Call, streams: Streams) -> Block | None:
    """The residual block that ends in `merge`, `None` if none does."""
    shapes = [paths.graph.specs[value].shape for value in merge.inputs]
    if not _may_be_equal(shapes):
        return None
    start = _start(paths, merge, streams)
    block = None
    if start is not None:
        starts = ((start,),) * len(merge.inputs)
        block = _parted(paths, merge, starts, paths.from_value(start, merge))
        if block is not None and not _is_residual(paths, block, streams):
            block = None
    exchange = streams.exchange(merge, block)
    exchanged = None if exchange is None else _parted(paths, merge, *exchange)
    return exchanged if exchanged is not None and exchanged.branch_depth else block


def _parts(paths: Paths, block: Block, streams: Streams) -> list[Block]:
    """The blocks inside of a block that are the sums of what its branch consists of.

    In `x + (A(h) + F(h))`, where h is x or what normalization makes of it, the sum of
    attention and MLP has a path with fewer weight layers, which is no shortcut. Nor is
    what is taken away inside, as in `x + (F(h) - h)`: the sum carries it on.
    """
    found = []
    for position in block.branches:
        before = paths.producers[block.merge.inputs[position]]
        is_scaled = False
        while len(before.inputs) == 1:
            is_scaled = is_scaled or before.has_weights
            before = paths.producers[before.inputs[0]]
        inner = streams.blocks.get(before)
        if inner is None or not paths.depends(inner.input, block.input):
            continue
        has_weights = any(call.has_weights for call in inner.paths[inner.shortcut])
        is_taken_away = inner.shortcut in _taken_away(inner.merge)
        if not (is_taken_away or (has_weights and not is_scaled)):
            continue
        between = paths.between(block.input, inner.input)
        if all(len(c.inputs) == 1 and not c.has_weights for c in between):
            found.append(inner)
    return found


def _is_residual(paths: Paths, block: Block, streams: Streams) -> bool:
    """Whether what a block adds to is its stream, and what it adds is a branch."""
    if not _is_whole(paths, block, streams) or is_weighted_sum(paths, block):
        return False
    merge = block.merge
    takes_away = _taken_away(merge)
    return block.branch_depth > 0 or (not takes_away and mix(paths, block.input, merge))


def _taken_away(merge: Call) -> list[int]:
    """The indices of the inputs that a sum takes away."""
    factors = facts_of(merge.operation).factors or ()
    return [index for index, factor in enumerate(factors) if factor < 0]


def _parted(
    paths: Paths,
    merge: Call,
    starts: tuple[tuple[int, ...], ...],
    ways: tuple[Path, ...],
) -> Block | None:
    """The block of paths that start somewhere and that a call adds up.

    `None` if none of them is the shortcut.
    """
    specs = paths.graph.specs
    weights = [
        _weight_layers(*path) for path in zip(starts, merge.inputs, ways, strict=True)
    ]
    depths = [(fewest, most) for fewest, most, _ in weights]
    shortcut = _shortcut(merge.inputs, depths, starts)
    if shortcut is None:
        return None
    value, (start, *_) = merge.inputs[shortcut], starts[shortcut]
    branches = tuple(i for i in range(len(depths)) if i != shortcut)
    reshapes = specs[value].shape != specs[start].shape
    return Block(
        name=merge.name if merge.owner is None else merge.name.rpartition("/")[0],
        merge=merge,
        input=start,
        shortcut=shortcut,
        branches=branches,
        branch_depth=max(most for _, most in depths),
        output=merge.outputs[0],
        changes_shape=depths[shortcut][0] > 0 or reshapes,
        weights=tuple(dict.fromkeys(name for i in branches for name in weights[i][2])),
        starts=starts,
        paths=ways,
    )


def _start(paths: Paths, merge: Call, streams: Streams) -> int | None:
    """The value at which the block of a merge starts, `None` if there is none.

    It is the nearest ancestor that the inputs share. What they share in front of
    parallel branches, such as a normalization, may stand behind the place where the
    stream itself parts; then the block starts in front of that.
    """
    start = paths.fork(merge)
    while start is not None:
        ways = paths.from_value(start, merge)
        if start in merge.inputs or paths.are_closed(start, ways):
            return start
        if are_conditions(paths, merge, start, ways, streams.blocks):
            return start
        before = paths.producers[start]
        if len(before.inputs) != 1 or before.has_weights:
            return None
        (start,) = before.inputs
    return None


def _is_whole(paths: Paths, block: Block, streams: Streams) -> bool:
    """Whether what a block adds to is its input, where it starts before the fork.

    It may be that and what parallel branches have added. What a scheme has put in front
    of a branch and of a projection beside it does not count as a fork.
    """
    value, fork = block.merge.inputs[block.shortcut], paths.fork(block.merge)
    if block.input in (fork, value):
        return True
    before = streams.blocks.get(paths.producers[value])
    if before is not None and before.input == block.input:
        return True
    assert fork is not None
    shared = paths.between(block.input, fork)
    return all(facts_of(call.operation).scales_branch for call in shared)


def _end_activation(paths: Paths, block: Block) -> Call | None:
    """The activation that alone reads the sum, `None` without one."""
    merge = block.merge
    readers = paths.consumers.get(merge.outputs[0], [])
    if len(readers) != 1 or readers[0].owner is not merge.owner:
        return None
    return readers[0] if is_activation(readers[0]) else None


def _may_be_equal(shapes: list[Any]) -> bool:
    """Whether shapes may be the same: where a size is not known, it may be any."""
    # One of unknown size beside a 1 is broadcast.
    return len({len(shape) for shape in shapes}) == 1 and all(
        len({size for size in sizes if size is not None}) <= 1 and {*sizes} != {1, None}
        for sizes in zip(*shapes, strict=True)
    )


def _shortcut(
    values: Sequence[int],
    depths: list[tuple[int, int]],
    starts: Sequence[tuple[int, ...]],
) -> int | None:
    """The index of the value that is the shortcut, `None` if none is."""
    fewest = [i for i, depth in enumerate(depths) if depth == min(depths)]
    if len(fewest) > 1:
        fewest = [i for i in fewest if values[i] in starts[i]]
    return fewest[0] if len(fewest) == 1 else None


def _weight_layers(
    starts: Sequence[int], end: int, path: Iterable[Call]
) -> tuple[int, int, list[str]]:
    """`(fewest, most, names)`: numbers of weight layers in a row, and all of them."""
    fewest, most, names = dict.fromkeys(starts, 0), dict.fromkeys(starts, 0), []
    for call in path:
        # What a call reads beside has come on another path.
        read = [value for value in call.inputs if value in most]
        if call.has_weights:
            names.append(call.name)
        for value in call.outputs:
            fewest[value] = min(fewest[v] for v in read) + call.has_weights
            most[value] = max(most[v] for v in read) + call.has_weights
    return fewest[end], most[end], names
