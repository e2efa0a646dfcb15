"""Conditions: what enters on the paths of a residual block without being its stream."""

from collections.abc import Mapping
from typing import Any

from fixinit.graph.calls import Call
from fixinit.graph.paths import Path, Paths


def are_conditions(
    paths: Paths,
    merge: Call,
    start: int,
    ways: tuple[Path, ...],
    blocks: Mapping[Call, Any],
) -> bool:
    """Whether a block may start at a value on which not all that it reads depends.

    As in diffusion models, whose blocks read the embedding of a time step. Of what the
    paths read beside, each is broadcast, or something else reads it too. What carries
    the stream itself is none of these: it has residual blocks of its own, and no weight
    layer of another block reads the value where one starts.

    Args:
        paths: `Paths`.
        merge: `Call`, the addition.
        start: int, the value where the block starts.
        ways: The paths from there to the inputs of the addition.
        blocks: Mapping from calls to the `Block`s in front of it.
    """
    inside = {call for way in ways for call in way}

    def depends(value: int) -> bool:
        return bool(paths.reads[value] >> start & 1)

    if any(call in blocks and not depends(blocks[call].input) for call in inside):
        return False
    line = _line(paths, start)
    return not _is_read_elsewhere(paths, start, inside | {merge}) and all(
        value not in line
        and (
            _is_broadcast(paths, value, call)
            or _serves_others(paths, value, start, merge)
        )
        for call in inside
        for value in call.inputs
        if not depends(value)
    )


def _line(paths: Paths, value: int) -> set[int]:
    """What a value is made of one by one without weights: it is the same stream."""
    found: set[int] = set()
    while True:
        before = paths.producers[value]
        if len(before.inputs) != 1 or before.has_weights:
            return found
        (value,) = before.inputs
        found.add(value)


def _is_broadcast(paths: Paths, value: int, reader: Call) -> bool:
    """Whether a value has fewer numbers than what a call makes of it."""
    specs = paths.graph.specs
    shape, made = specs[value].shape, specs[reader.outputs[0]].shape
    if reader.has_weights or len(shape) > len(made):
        return False
    aligned = (*made[: len(made) - len(shape)], *shape)
    return len(shape) < len(made) or any(
        size == 1 and other != 1 for size, other in zip(aligned, made, strict=True)
    )


def _serves_others(paths: Paths, value: int, start: int, merge: Call) -> bool:
    """Whether a value, or what it alone is made of, serves other places too.

    Places in front of the block's start, or behind or beside its end.
    """
    end = paths.ancestors[merge.outputs[0]]
    while True:
        read = [v for call in paths.consumers[value] for v in call.outputs]
        is_earlier = paths.ancestors[start] >> value & 1
        if is_earlier or not all(end >> v & 1 for v in read):
            return True
        before = paths.producers[value]
        if len(before.inputs) != 1:
            return False
        (value,) = before.inputs


def _is_read_elsewhere(paths: Paths, start: int, inside: set[Call]) -> bool:
    """Whether weight layers outside of a block read its input, and it alone."""
    pending = [start]
    while pending:
        for call in paths.consumers.get(pending.pop(), []):
            if call in inside:
                continue
            if call.has_weights:
                return True
            if len(call.inputs) == 1:
                pending += call.outputs
    return False
