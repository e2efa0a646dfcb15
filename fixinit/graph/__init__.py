"""A Keras model as a graph of calls, and the residual blocks and gates in it."""

from fixinit.graph.block import Block
from fixinit.graph.blocks import find_blocks
from fixinit.graph.calls import Call, Graph
from fixinit.graph.draws import EqualDraws, equal_draws
from fixinit.graph.gates import find_gates
from fixinit.graph.kinds import is_activation, is_addition
from fixinit.graph.lambda_facts import register_lambda
from fixinit.graph.opening import Opened, opened
from fixinit.graph.run import Hook, run
from fixinit.graph.sizes import known_shapes, with_sizes
from fixinit.graph.tracing import trace

register_lambda()

__all__ = [
    "Block",
    "Call",
    "EqualDraws",
    "Graph",
    "Hook",
    "Opened",
    "equal_draws",
    "find_blocks",
    "find_gates",
    "is_activation",
    "is_addition",
    "known_shapes",
    "opened",
    "run",
    "trace",
    "with_sizes",
]
