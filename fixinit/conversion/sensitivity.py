"""Response of mean squares to a doubled input variance."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from fixinit.conversion.kernels import assumed_square
from fixinit.conversion.kinds import reads_signals
from fixinit.graph import Call, Hook
from fixinit.theory import Moments, calculus, propagate
from fixinit.theory.propagation import Assumption

# The factor of the input's variance.
_MORE = 2.0


def sensitivity(
    model: Any, stems: Iterable[Any] = (), assume: Assumption = assumed_square
) -> tuple[float, str | None]:
    """The largest growth of a mean square where the input's variance is doubled.

    It is 2 in a network of weights and ReLUs, at any depth. SiLU, gates and products of
    two branches amplify larger signals more, so that a small deviation grows from layer
    to layer. In narrow networks, single inputs deviate by that much.

    Args:
        model: The converted model, whose signals have the size that they are to have.
        stems: Layers that read data of variance 1, whatever is in front of them.
        assume: As in `fixinit.theory.propagate`.

    Returns:
        `(growth, name)`: the largest, and the name of its call, `None` in a network
        without signals.
    """
    ids = {id(layer) for layer in stems}
    few, more = _Squares(ids, 1.0), _Squares(ids, _MORE)
    for squares in (few, more):
        propagate(model, squares, 0.0, squares.variance, assume=assume)
    growths = {
        name: _finite(more.found[name]) / square
        for name, square in few.found.items()
        if 0 < square < math.inf
    }
    if not growths:
        return _MORE, None
    name = max(growths, key=lambda name: growths[name])
    return growths[name], name


def _finite(square: float) -> float:
    """Maps NaN, which comes from overflow, to infinity."""
    return math.inf if math.isnan(square) else square


class _Squares(Hook):
    """Records the mean squares of what all calls give."""

    def __init__(self, stems: set[int], variance: float) -> None:
        self.stems, self.variance = stems, variance
        self.found: dict[str, float] = {}

    def enter(self, call: Call, inputs: list[Any], control: Any) -> Sequence[Any]:
        if id(call.operation) in self.stems:
            (x,) = inputs
            shape = x.shape + (x.total_channels,)
            return [Moments.inputs(shape, 0.0, self.variance)]
        return inputs

    def leave(self, call: Call, outputs: list[Any], control: Any) -> Sequence[Any]:
        if id(call.operation) in self.stems and not reads_signals(call.operation):
            # Of an embedding it is what comes out that varies.
            outputs = [calculus.scale(y, self.variance**0.5) for y in outputs]
        self.found[call.name] = outputs[0].mean_square
        return outputs
