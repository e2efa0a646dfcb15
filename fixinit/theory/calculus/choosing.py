"""Values of two tensors, chosen by a condition."""

import numpy as np

from fixinit.theory.calculus.alignment import aligned, check_independent
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second


def choose(condition: Moments, x: Moments, y: Moments) -> Moments:
    """Takes `x` where a condition holds and `y` elsewhere, all three independent.

    With c the condition and `d = 1 - c`, the moments of pairs are `E[c c'] E[x x'] +
    E[d d'] E[y y'] + E[c d'] E[x] E[y'] + E[d c'] E[y] E[x']`.
    Gradients go to each with its probability.

    Example:

    >>> from fixinit.theory.calculus.choosing import choose
    >>> c = fixinit.theory.Moments.inputs((8,), 0.5, 0.25)  # 0 or 1
    >>> x, y = (fixinit.theory.Moments.inputs((8,), 0.0, v) for v in (1.0, 3.0))
    >>> choose(c, x, y).mean_square
    2.0

    Args:
        condition: `Moments` of a tensor of zeros and ones.
        x, y: `Moments`.
    """
    check_independent([condition, x, y])
    c, x, y = aligned([condition, x, y])
    shape = c.shape
    one, two = first(c.mean, shape), second(c.mean, shape)
    crossed = [
        first(a.mean, shape) * second(b.mean, shape) for a, b in ((x, y), (y, x))
    ]

    def pairs(name: str) -> np.ndarray:
        both, own, other = (getattr(v, name) for v in (c, x, y))
        mixed = (one - both) * crossed[0] + (two - both) * crossed[1]
        return both * own + (1 - one - two + both) * other + mixed

    z = c.like(
        c.mean * x.mean + (1 - c.mean) * y.mean,
        pairs("same"),
        pairs("cross"),
        condition.sources | x.sources | y.sources,
    )
    z.node.link((x, y), lambda g: [c.mean * g, (1 - c.mean) * g])
    return z
