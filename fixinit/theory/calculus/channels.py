"""Channels side by side."""

import numpy as np

from fixinit.theory.moments import Moments


class Reported(np.ndarray):
    """A gradient that is known here, and goes back another way."""

    def __new__(cls, values):
        return np.asarray(values).view(cls)


def concatenate(xs):
    """Channels side by side."""
    y = Moments(
        xs[0].shape,
        np.concatenate([x.channels for x in xs]),
        *(
            np.concatenate([getattr(x, name) for x in xs])
            for name in ("mean", "same", "cross")
        ),
        frozenset().union(*(x.sources for x in xs)),
    )
    if any(x.latent or x.parts for x in xs):
        y.parts = [part for x in xs for part in x.parts or [x]]
    ends = np.cumsum([len(x.channels) for x in xs])[:-1]
    y.node.link(xs, lambda g: np.split(g, ends))
    return y


def by_parts(x, function, slope=None):
    """A function of each of the parts that `x` was concatenated of.

    Args:
        slope: Callable from the resulting `Moments` to what gradients at `x` are
            multiplied by.
    """
    parts = [function(part) for part in x.parts]
    y = concatenate(parts)
    split = y.node.pull
    if slope is not None:
        factor = np.concatenate([slope(part) for part in parts])
        y.node.link((x, *parts), lambda g: [Reported(factor * g), *split(g)])
    return y
