"""Finds residual blocks in a graph: additions whose inputs share an ancestor."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from fixinit._typing import Tensor
from fixinit.graph.calls import Call, Graph
from fixinit.graph.kinds import is_activation, is_addition
from fixinit.graph.mixing import mix
from fixinit.graph.paths import Path, Paths
from fixinit.layers import facts_of


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One residual block: `output = merge(shortcut, branches)`.

    Example:

    >>> x = inputs = keras.Input((8,))
    >>> x = keras.layers.add([x, keras.layers.Dense(8, name="weight1")(x)], name="sum")
    >>> graph = fixinit.graph.trace(keras.Model(inputs, x))
    >>> (block,) = fixinit.graph.find_blocks(graph)
    >>> block.name, block.shortcut, block.branches, block.weights
    ('sum', 0, (1,), ('weight1',))
    >>> block.addends([np.ones(8), np.zeros(8)])[0].sum()
    np.float64(8.0)

    Attributes:
        name: String. Ours: the name of the `ResidualBlock`. Otherwise that of the
            call that merges.
        merge: The `Call` that adds.
        input: int. The value at which shortcut and branches part.
        shortcut: int. Index of the shortcut among the inputs of `merge`.
        branches: Tuple of ints, the indices of the other inputs.
        branch_depth: int. Weight layers in the longest branch (m).
        output: int. The block's output: the sum, or, in a network whose blocks end
            in an activation, that.
        changes_shape: bool. Whether the shortcut has weights or changes the shape.
        weights: Tuple of the names of the branches' weight layers.
        paths: For each input of `merge`, the tuple of the `Call`s between `input` and
            it.
    """

    name: str
    merge: Call
    input: int
    shortcut: int
    branches: tuple[int, ...]
    branch_depth: int
    output: int
    changes_shape: bool
    weights: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        """Tuple of the `Call`s between `input` and the sum, which is the last."""
        inside = dict.fromkeys(call for path in self.paths for call in path)
        return (*inside, self.merge)

    def addends(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What the merge adds up, from the tensors that it reads.

        Args:
            inputs: Tensors, one for each input of the merge.

        Returns:
            `(shortcut, branches)`: two tensors, each times its factor where the merge
            has factors, as a `fixinit.layers.ScaledAdd` has.
        """
        factors = facts_of(self.merge.operation).factors
        if factors is not None:
            inputs = [factor * h for factor, h in zip(factors, inputs, strict=True)]
        return inputs[self.shortcut], sum(inputs[i] for i in self.branches)


def find_blocks(graph: Graph) -> list[Block]:
    """The residual blocks of a graph, from its input to its output.

    A residual block ends in an addition (`keras.layers.Add`, `+`, `keras.ops.add`,
    `fixinit.layers.ScaledAdd` or any layer that declares in its `fixinit.layers.Facts`
    that it adds) of values that share an ancestor. The shortcut is the one that can be
    reached from there through the fewest weight layers, and of several such the one
    with the fewest on its longest path. Where two share that place, it is the one that
    is the ancestor itself; where there is none, as in Inception-like modules, the
    addition is no residual block. Where no path has weights, it is one if something
    else than the ancestor itself mixes positions or channels, as pooling and Fourier
    transforms do: those paths are run on random numbers. Nor is it where shapes are
    broadcast, or where no input is the ancestor itself and something that does not
    depend on it enters on one of the paths: which of them is the stream is unknown.

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
    merges = [_block(paths, call) for call in graph.calls if is_addition(call)]
    found = [block for block in merges if block is not None]
    ends = [_end_activation(paths, block) for block in found]
    # Behind the last sum of a pre-activation network, the head has an activation too.
    if not all(ends[:-1]):
        return found
    return [
        dataclasses.replace(block, output=(end or block.merge).outputs[0])
        for block, end in zip(found, ends, strict=True)
    ]


def _block(paths: Paths, merge: Call) -> Block | None:
    """The residual block that ends in `merge`, `None` if none does."""
    start = _start(paths, merge)
    if start is None:
        return None
    to_merge, specs = paths.from_value(start, merge), paths.graph.specs
    weights = [
        _weight_layers(start, value, path)
        for value, path in zip(merge.inputs, to_merge, strict=True)
    ]
    depths = [(fewest, most) for fewest, most, _ in weights]
    shortcut = _shortcut(merge.inputs, depths, start)
    shapes = [specs[value].shape for value in merge.inputs]
    if shortcut is None or not _may_be_equal(shapes):
        return None
    if not any(most for _, most in depths) and not mix(paths, start, merge):
        return None
    value = merge.inputs[shortcut]
    if start != paths.fork(merge) and not _is_stream(paths, value, start):
        return None
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
        paths=to_merge,
    )


def _start(paths: Paths, merge: Call) -> int | None:
    """The value at which the block of a merge starts, `None` if there is none.

    It is the nearest ancestor that the inputs share. What they share in front of
    parallel branches, such as a normalization, may stand behind the place where the
    stream itself parts; then the block starts in front of that.
    """
    start = paths.fork(merge)
    while start is not None:
        to_merge = paths.from_value(start, merge)
        if start in merge.inputs or paths.are_closed(start, to_merge):
            return start
        before = paths.producers[start]
        if len(before.inputs) != 1 or before.has_weights:
            return None
        (start,) = before.inputs
    return None


def _is_stream(paths: Paths, value: int, start: int) -> bool:
    """Whether a value is `start`, or that and what parallel branches have added."""
    if value == start:
        return True
    before = paths.producers[value]
    block = _block(paths, before) if is_addition(before) else None
    return block is not None and block.input == start


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
    values: Sequence[int], depths: list[tuple[int, int]], start: int
) -> int | None:
    """The index of the value that is the shortcut, `None` if none is."""
    fewest = [i for i, depth in enumerate(depths) if depth == min(depths)]
    if len(fewest) > 1:
        fewest = [i for i in fewest if values[i] == start]
    return fewest[0] if len(fewest) == 1 else None


def _weight_layers(
    start: int, end: int, path: Iterable[Call]
) -> tuple[int, int, list[str]]:
    """`(fewest, most, names)`: numbers of weight layers in a row, and all of them."""
    fewest, most, names = {start: 0}, {start: 0}, []
    for call in path:
        # What a call reads beside has come on another path.
        read = [value for value in call.inputs if value in most]
        if call.has_weights:
            names.append(call.name)
        for value in call.outputs:
            fewest[value] = min(fewest[v] for v in read) + call.has_weights
            most[value] = max(most[v] for v in read) + call.has_weights
    return fewest[end], most[end], names
