"""The first additions of streams that are coupled and come from different inputs."""

from collections.abc import Collection

from fixinit.graph.block import Block
from fixinit.graph.calls import Call
from fixinit.graph.kinds import is_addition
from fixinit.graph.paths import Paths
from fixinit.graph.streams import Exchange


def first_exchanges(paths: Paths, blocks: Collection[Block]) -> dict[Call, Exchange]:
    """Additions to one stream of what another holds, where the two share no ancestor.

    As the first of a reversible network of two inputs:

        x1 = x1 + F(x2)
        x2 = x2 + G(x1)

    It is told by what is behind it: a branch of the other stream reads the sum, to
    which further blocks add.

    Args:
        paths: `Paths`.
        blocks: The `Block`s found without these.

    Returns:
        Dict from calls that add to where the paths to what they add start, and these.
    """
    streams = {block.input for block in blocks}
    merges = {block.merge for block in blocks}
    found = {}
    for call in paths.graph.calls:
        if call in merges or not is_addition(call) or paths.fork(call) is not None:
            continue
        if call.outputs[0] not in streams:
            continue
        others = (block.input for block in blocks if call in block.calls)
        exchanges = (_exchange(paths, call, other) for other in others)
        exchange = next((e for e in exchanges if e is not None), None)
        if exchange is not None:
            found[call] = exchange
    return found


def _exchange(paths: Paths, merge: Call, other: int) -> Exchange | None:
    """What an addition adds to one stream of another one, `None` if that is not all."""
    stream = [v for v in merge.inputs if not paths.depends(v, other)]
    if len(stream) != 1 or paths.depends(other, stream[0]):
        return None
    starts = tuple((v,) if v in stream else (other,) for v in merge.inputs)
    ways = tuple(() if v in stream else paths.between(other, v) for v in merge.inputs)
    return (starts, ways) if paths.are_closed(other, ways) else None
