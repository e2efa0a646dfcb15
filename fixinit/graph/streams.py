"""Streams: the values that residual blocks add to, one behind the other."""

from collections.abc import Iterator

from fixinit.graph.block import Block
from fixinit.graph.calls import Call
from fixinit.graph.kinds import is_activation
from fixinit.graph.paths import Path, Paths
from fixinit.layers import facts_of

# Where the paths to the inputs of an addition start, and the paths.
Exchange = tuple[tuple[tuple[int, ...], ...], tuple[Path, ...]]


class Streams:
    """The streams of a graph, as far as its blocks are found.

    Two streams may exchange what they hold, as in a reversible network

        x1 = x1 + F(x2)
        x2 = x2 + G(x1)

    or between resolutions. What one stream adds to the other is a branch that starts
    at the first. It does not start where both have come from, many blocks before, and
    the blocks of the other stream do not lie inside of it.

    Args:
        paths: `fixinit.graph.paths.Paths`.

    Attributes:
        blocks: Dict from calls that add to their blocks.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.blocks: dict[Call, Block] = {}
        self._ends: dict[int, Block] = {}

    def add(self, block: Block) -> None:
        """Adds a block. The values of the stream that it makes are now known."""
        self.blocks[block.merge] = block
        call: Call | None = block.merge
        while call is not None:
            (value,) = call.outputs
            self._ends[value] = block
            call = None if is_activation(call) else self._next(value)

    def drop(self, block: Block) -> None:
        """Takes a block out again that is the part of another."""
        del self.blocks[block.merge]
        self._ends = {v: b for v, b in self._ends.items() if b is not block}

    def _next(self, value: int) -> Call | None:
        """What alone reads a sum and scales, normalizes or activates it, or `None`."""
        readers = self._paths.consumers.get(value, [])
        if len(readers) != 1 or len(readers[0].inputs) != 1:
            return None
        facts = facts_of(readers[0].operation)
        stays = facts.scales_branch or facts.normalizes or facts.activates
        return readers[0] if stays else None

    def exchange(self, merge: Call, block: Block | None) -> Exchange | None:
        """The paths of an addition to one stream of what others hold.

        Args:
            merge: `Call` that adds.
            block: The block that it ends, were it not for other streams; or `None`.

        Returns:
            `(starts, paths)`, for each input of the addition the values at which its
            path starts, and the path; `None` if nothing comes from another stream.
        """
        shortcut = self._shortcut(merge, block)
        if shortcut is None:
            return None
        stream = merge.inputs[shortcut]
        within = None if block is None else block.input
        starts: list[tuple[int, ...]] = [(stream,)] * len(merge.inputs)
        ways: list[Path] = [()] * len(merge.inputs)
        finds = False
        for index, value in enumerate(merge.inputs):
            if index != shortcut:
                others, rest = self._sources(merge, value, stream, within)
                finds = finds or bool(others)
                starts[index] = (*others, *rest)
                ways[index] = self._paths.behind(starts[index], value)
        return (tuple(starts), tuple(ways)) if finds and all(starts) else None

    def _shortcut(self, merge: Call, block: Block | None) -> int | None:
        """The index of the input that is a stream itself, `None` if none is."""
        found = [i for i, value in enumerate(merge.inputs) if value in self._ends]
        if block is None:
            return found[0] if len(found) == 1 else None
        value = merge.inputs[block.shortcut]
        itself = value == block.input or block.shortcut in found
        return block.shortcut if itself or self._is_part(value, block) else None

    def _is_part(self, value: int, block: Block) -> bool:
        """Whether a value is one of several into which a block's input is split."""
        before = self._paths.producers[value]
        return len(before.outputs) > 1 and before.inputs == (block.input,)

    def _sources(
        self, merge: Call, value: int, stream: int, within: int | None
    ) -> tuple[list[int], list[int]]:
        """Where the path to a value starts: `(others, rest)`.

        `others` are the nearest values of other streams, and parts that were split from
        where the stream comes from. `rest` is the stream itself or `within`.

        Args:
            merge: `Call` that adds.
            value: int, what it reads.
            stream: int, the value to which it is added.
            within: int, the value on which all of the path depends, or `None`.
        """
        parts = set(self._paths.producers[stream].outputs)
        others, rest, pending, seen = [], [], [value], set()
        while pending:
            at = pending.pop()
            if at in seen or (within is not None and not self._depends(at, within)):
                continue
            seen.add(at)
            if at in (stream, within):
                rest.append(at)
            elif at in parts or self._is_other(merge, at, stream):
                others.append(at)
            else:
                pending += self._paths.producers[at].inputs
        return sorted(others), sorted(rest)

    def _is_other(self, merge: Call, value: int, stream: int) -> bool:
        """Whether a value is on another stream than the one that it is added to.

        That stream does not come from this one, or goes on beside it.
        """
        if value not in self._ends:
            return False
        *_, root = line = list(self._line(value))
        comes_from = stream in line or self._depends(root, stream)
        return not comes_from or self._goes_on(merge, value)

    def _goes_on(self, merge: Call, value: int) -> bool:
        """Whether a value goes elsewhere than into an addition."""
        end = merge.outputs[0]
        readers = self._paths.consumers.get(value, [])
        behind = [v for call in readers for v in call.outputs]
        is_output = value in self._paths.graph.outputs
        return is_output or not all(self._depends(end, v) for v in behind)

    def _line(self, end: int) -> Iterator[int]:
        """The values of the stream that a block's output is on, back to its root."""
        yield end
        while end in self._ends:
            end = self._ends[end].input
            yield end

    def _depends(self, value: int, before: int) -> bool:
        return self._paths.depends(value, before)
