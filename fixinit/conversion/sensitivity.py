"""How much more comes out of a network, of which a little more goes in."""

import math

from fixinit.graph import Instrument
from fixinit.theory import Moments, follow

# What a variance is multiplied by to see what follows.
_MORE = 1.01


def sensitivity(model, stems=()):
    """The highest power of the input's variance that mean squares grow with.

    1 in a network of weights and ReLUs, where twice as much goes through as twice as
    much, at any depth. SiLU, gates and products of two ways do more to larger signals:
    powers multiply from layer to layer, and what is a little off becomes far off.

    Args:
        model: The converted model, whose signals have the size that they are to have.
        stems: Layers that read data of variance 1, whatever is in front of them.

    Returns:
        `(power, name)`, and of the call behind which it is that.
    """
    stems = {id(layer) for layer in stems}
    few, more = _Squares(stems, 1.0), _Squares(stems, _MORE)
    for squares in (few, more):
        follow(model, squares, 0.0, squares.variance, approximate=True)
    powers = {
        name: math.log(more.found[name] / square) / math.log(_MORE)
        for name, square in few.found.items()
        if 0 < square < math.inf and 0 < more.found[name] < math.inf
    }
    name = max(powers, key=powers.get, default=None)
    return powers.get(name, 1.0), name


class _Squares(Instrument):
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
        self.found[call.name] = outputs[0].mean_square
        return outputs
