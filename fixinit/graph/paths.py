"""The paths through a graph."""

from collections.abc import Sequence

from fixinit.graph.calls import Call, Graph

# What lies on the paths from one value to another, in the order of the calls.
Path = tuple[Call, ...]


class Paths:
    """The paths between the values of a graph.

    Args:
        graph: `fixinit.graph.Graph`.

    Attributes:
        graph: The graph.
        consumers, producers, ancestors: Those of the graph.
        reads: Its ancestors, what constants read among them. They lie on paths, but
            nothing depends on where such a path starts.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.consumers = graph.consumers()
        self.producers = graph.producers()
        self.ancestors = graph.ancestors()
        self.reads = graph.ancestors(reads=True) if graph.constants else self.ancestors

    def fork(self, call: Call) -> int | None:
        """The nearest value that all inputs of a call depend on, or `None`."""
        common = -1
        for value in call.inputs:
            common &= self.ancestors[value]
        # Values are numbered in the order of the calls: the last one is the nearest.
        return common.bit_length() - 1 if common else None

    def depends(self, value: int, before: int) -> bool:
        """Whether a value is another one, or is made of it."""
        return bool(self.ancestors[value] >> before & 1)

    def between(self, start: int, end: int) -> Path:
        """The calls on the paths from `start` to `end`, in order."""
        return self.behind((start,), end)

    def behind(self, starts: Sequence[int], end: int) -> Path:
        """The calls on the paths to `end` from the last of some values on each."""
        bits = sum(1 << start for start in set(starts))
        found: set[Call] = set()
        pending = [end]
        while pending:
            value = pending.pop()
            call = self.producers[value]
            if value in starts or call in found:
                continue
            found.add(call)
            pending += [v for v in call.inputs if self.reads[v] & bits]
        return tuple(sorted(found, key=lambda call: call.outputs[0]))

    def from_value(self, start: int, call: Call) -> tuple[Path, ...]:
        """The paths from `start` to each of the inputs of a call."""
        return tuple(self.between(start, value) for value in call.inputs)

    def are_closed(self, start: int, paths: tuple[Path, ...]) -> bool:
        """Whether all that is read on some paths depends on where they start."""
        read = {value for path in paths for call in path for value in call.inputs}
        return all(self.reads[value] >> start & 1 for value in read)
