"""How much more comes out of a network that more goes into."""

import math

from fixinit.conversion.kernels import assumed_square
from fixinit.conversion.kinds import reads_signals
from fixinit.graph import Hook
from fixinit.theory import Moments, calculus, propagate

# What the input's variance is multiplied by to see what follows.
_MORE = 2.0


def sensitivity(model, stems=()):
    """How much mean squares grow where the input's variance is doubled.

    By 2 in a network of weights and ReLUs, at any depth. SiLU, gates and products of
    two ways do more to larger signals: what is a little off becomes far off from layer
    to layer. Single inputs are off by that much where networks are narrow.

    Args:
        model: The converted model, whose signals have the size that they are to have.
        stems: Layers that read data of variance 1, whatever is in front of them.

    Returns:
        `(growth, name)`: the most, and of the call behind which it is that.
    """
    stems = {id(layer) for layer in stems}
    few, more = _Squares(stems, 1.0), _Squares(stems, _MORE)
    for squares in (few, more):
        propagate(model, squares, 0.0, squares.variance, assume=assumed_square)
    growths = {
        name: _finite(more.found[name]) / square
        for name, square in few.found.items()
        if 0 < square < math.inf
    }
    name = max(growths, key=growths.get, default=None)
    return growths.get(name, _MORE), name


def _finite(square):
    """What is not a number has been too large."""
    return math.inf if math.isnan(square) else square


class _Squares(Hook):
    """The mean squares behind all calls."""

    def __init__(self, stems, variance):
        self.stems, self.variance = stems, variance
        self.found = {}

    def enter(self, call, inputs, control):
        if id(call.operation) in self.stems:
            (x,) = inputs
            shape = x.shape + (x.total_channels,)
            return [Moments.inputs(shape, 0.0, self.variance)]
        return inputs

    def leave(self, call, outputs, control):
        if id(call.operation) in self.stems and not reads_signals(call.operation):
            # Of an embedding it is what comes out that varies.
            outputs = [calculus.scale(y, self.variance**0.5) for y in outputs]
        self.found[call.name] = outputs[0].mean_square
        return outputs
