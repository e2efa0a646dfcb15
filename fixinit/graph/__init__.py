"""The graph of a Keras model: its calls one by one, and the residual blocks in it."""

from fixinit.graph.blocks import Block, find_blocks, find_gates, is_activation
from fixinit.graph.calls import Call, Graph, trace
from fixinit.graph.run import Hook, run
from fixinit.graph.sizes import known_shapes, with_sizes

__all__ = [
    "Block",
    "Call",
    "Graph",
    "Hook",
    "find_blocks",
    "find_gates",
    "is_activation",
    "known_shapes",
    "run",
    "trace",
    "with_sizes",
]
