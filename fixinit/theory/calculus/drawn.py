"""Kernels as sources: what values were drawn from, and what the kernel read."""

from collections.abc import Iterable
from typing import Any


class Drawn:
    """A kernel that was drawn, as a source of the values it gives.

    Args:
        read: int, the serial number of the node of the tensor that it read.
        width: int, the channels of that tensor.
    """

    __slots__ = ("read", "width")

    def __init__(self, read: int, width: int) -> None:
        self.read, self.width = read, width


def common_width(first: Iterable[Any], second: Iterable[Any]) -> int | None:
    """The channels of a tensor that kernels of both sources have read, or `None`."""
    read = {source.read: source.width for source in _kernels(first)}
    found = [source.width for source in _kernels(second) if source.read in read]
    return min(found, default=None)


def _kernels(sources: Iterable[Any]) -> list[Drawn]:
    # A part of the channels of a source holds the source.
    whole = (getattr(source, "source", source) for source in sources)
    return [source for source in whole if isinstance(source, Drawn)]
