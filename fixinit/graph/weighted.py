"""Weighted sums: additions of products whose factors are made side by side."""

from fixinit.graph.block import Block
from fixinit.graph.calls import Call
from fixinit.graph.kinds import is_addition
from fixinit.graph.paths import Paths
from fixinit.layers import facts_of


def is_weighted_sum(paths: Paths, block: Block) -> bool:
    """Whether all that an addition adds up are products of values and their gates.

    As the contexts of focal modulation: `g1 c1 + g2 c2`, where `c2` is made of `c1`.
    Gates that enter from elsewhere, as conditions do, do not count.

    Args:
        paths: `Paths`.
        block: `Block` that the addition would end.
    """
    return all(_is_gated(paths, value, block.input) for value in block.merge.inputs)


def _is_gated(paths: Paths, value: int, start: int) -> bool:
    """Whether a value is the product of a value and its gate, or a sum of such."""
    while value != start:
        call = paths.producers[value]
        if is_addition(call):
            return all(_is_gated(paths, v, start) for v in call.inputs)
        if facts_of(call.operation).multiplies and len(call.inputs) == 2:
            return _are_siblings(paths, call)
        if len(call.inputs) != 1 or call.has_weights:
            return False
        (value,) = call.inputs
    return False


def _are_siblings(paths: Paths, product: Call) -> bool:
    """Whether the factors of a product are made of one value and nothing else."""
    fork = paths.fork(product)
    return fork is not None and paths.are_closed(fork, paths.from_value(fork, product))
