"""Sources: what values were drawn from, and which channels of it."""

import dataclasses
from collections.abc import Set
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Part:
    """Some channels of what was drawn from a source.

    Attributes:
        source: The source of the tensor.
        channels: Tuple of ints, the channels that were taken, in their order.
        total: int, how many channels the tensor has.
    """

    source: Any
    channels: tuple[int, ...]
    total: int


def part_of(source: Any, indices: np.ndarray, total: int) -> Part:
    """The source of some channels of a tensor of `total` channels."""
    if isinstance(source, Part):
        if len(source.channels) != total:
            return source
        chosen = tuple(source.channels[int(i)] for i in indices)
        return Part(source.source, chosen, source.total)
    return Part(source, tuple(int(i) for i in indices), total)


def root(source: Any) -> Any:
    """The source itself, of which this one may be a part."""
    return source.source if isinstance(source, Part) else source


def overlap(first: Set[Any], second: Set[Any]) -> bool:
    """Whether values of some sources may depend on the same weights."""
    if first & second:
        return True
    if not any(isinstance(source, Part) for source in (*first, *second)):
        return False
    by_root: dict[Any, list[Any]] = {}
    for source in first:
        by_root.setdefault(root(source), []).append(source)
    return any(_meet(a, b) for b in second for a in by_root.get(root(b), ()))


def _meet(a: Any, b: Any) -> bool:
    """Whether two parts of one source have channels in common."""
    if not (isinstance(a, Part) and isinstance(b, Part)) or a.total != b.total:
        return True
    return not set(a.channels).isdisjoint(b.channels)
