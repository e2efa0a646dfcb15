"""Response of mean squares to a doubled input variance."""

import dataclasses
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
# Of mean squares where the input's is doubled: 2 where all is homogeneous.
_MOST_GROWTH = 10


@dataclasses.dataclass(frozen=True)
class Response:
    """What the mean squares of a network are, and how they grow with the input's.

    Attributes:
        squares: Dict from the names of calls to the mean squares that they give in
            test mode, for inputs of variance 1.
        growths: Dict from the names of those that give signals to what twice the
            input's mean square multiplies theirs by.
    """

    squares: dict[str, float]
    growths: dict[str, float]

    @property
    def largest(self) -> tuple[float, str | None]:
        """`(growth, name)`: the largest, and its call, `None` without signals."""
        if not self.growths:
            return _MORE, None
        name = max(self.growths, key=lambda name: self.growths[name])
        return self.growths[name], name

    def said(self) -> list[str]:
        """A warning of signals that may vanish or explode, if they may."""
        growth, name = self.largest
        if growth <= _MOST_GROWTH:
            return []
        return [
            "Signals may vanish or explode: twice as much at the input, in mean "
            f"squares, makes {growth:.3g} times as much at `{name}`, through "
            "activations, gates or products that do more to larger signals. Look at "
            "the converted model with fixinit.diagnostics.diagnose. Branches that "
            "start at zero do not add to this."
        ]


def sensitivity(
    model: Any,
    stems: Iterable[Any] = (),
    assume: Assumption = assumed_square,
    input_shape: Any = None,
) -> Response:
    """The growth of mean squares where the input's variance is doubled.

    It is 2 in a network of weights and ReLUs, at any depth. SiLU, gates and products of
    two branches amplify larger signals more, so that a small deviation grows from layer
    to layer. In narrow networks, single inputs deviate by that much.

    Args:
        model: The converted model, whose signals have the size that they are to have.
        stems: Layers that read data of variance 1, whatever is in front of them.
        assume, input_shape: As in `fixinit.theory.propagate`.
    """
    ids = {id(layer) for layer in stems}
    few, more = _Squares(ids, 1.0), _Squares(ids, _MORE)
    for squares in (few, more):
        statistics = 0.0, squares.variance
        propagate(model, squares, *statistics, assume, input_shape=input_shape)
    growths = {
        name: _finite(more.found[name]) / square
        for name, square in few.found.items()
        if 0 < square < math.inf
    }
    return Response(few.found, growths)


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
