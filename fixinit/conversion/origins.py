"""Tells the values of a graph apart by the layers that made them."""

import collections
from collections.abc import Callable
from typing import Any

from fixinit.graph import Call, Graph

# What a call reads, and which of the calls of its kind on that it is.
Origin = tuple[tuple[int, ...], int]


def find_origins(
    graph: Graph, removed: Callable[[Any], bool]
) -> tuple[dict[int, int], dict[Call, Origin]]:
    """Numbers for values, the same for what one layer gives wherever it is called.

    What one layer with weights gives has one number in all of its calls, and so has
    what layers without weights make of that. Of several calls of one kind on one
    value, each has its own.

    Args:
        graph: `fixinit.graph.Graph`.
        removed: Callable from an operation to whether it will be taken out. Behind
            such a layer stands what it read.

    Returns:
        `(values, calls)`: dicts from values to their numbers, and from calls to what
        tells what they read from what other calls read.
    """
    numbers: dict[Any, int] = {}
    values: dict[int, int] = {}
    calls: dict[Call, Origin] = {}
    uses: collections.Counter[Any] = collections.Counter()
    for call in graph.calls:
        read = tuple(values[value] for value in call.inputs)
        use = type(call.operation), call.inputs
        calls[call] = read, uses[use]
        uses[use] += 1
        weights = getattr(call.operation, "weights", ())
        if removed(call.operation) and len(read) == 1:
            values.update(dict.fromkeys(call.outputs, read[0]))
            continue
        for position, value in enumerate(call.outputs):
            key = (id(call.operation), position, () if weights else read)
            values[value] = numbers.setdefault(key, len(numbers))
    return values, calls
