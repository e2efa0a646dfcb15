"""How the activations of a converted network will follow one another."""

import functools
from typing import Any

from fixinit.conversion.survey import stream_blocks
from fixinit.graph import Call, Graph
from fixinit.schemes import Scheme, Site
from fixinit.theory.tailoring import SubnetworkMaximum


def subnetworks(graph: Graph, scheme: Scheme, num_branches: int) -> SubnetworkMaximum:
    """What `Scheme.prepared` is given for a graph whose blocks add as the scheme says.

    Args:
        graph: `fixinit.graph.Graph`.
        scheme: `fixinit.schemes.Scheme`.
        num_branches: int, residual branches of the whole network.
    """

    # Only if a scheme asks: blocks are found by running parts of the graph.
    @functools.cache
    def merges() -> dict[Call, tuple[float, ...]]:
        return dict(_factors(graph, scheme, num_branches))

    return SubnetworkMaximum(graph, lambda call: merges().get(call))


def _factors(graph: Graph, scheme: Scheme, num_branches: int) -> Any:
    """Yields `(merge, factors)` for every residual block."""
    index = 0
    for inner, _ in graph.graphs():
        for block in stream_blocks(inner):
            count = len(block.branches)
            start = scheme.start(Site(min(index, num_branches - 1), num_branches))
            factors = [start.total_scale / count**0.5] * (count + 1)
            factors[block.shortcut] = start.shortcut_scale
            yield block.merge, tuple(factors)
            index += count
