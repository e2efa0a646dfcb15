"""Positions: windows with fixed coefficients, and axes that change."""

import numpy as np

from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import along, diagonal, set_diagonal


def spatial(x, windows):
    """Fixed coefficients along the spatial axes: average pooling, padding, cropping."""
    y = Moments(
        [window.outputs for window in windows],
        x.channels,
        taps(x.mean, windows, "mean"),
        taps(x.same, windows, "all_taps"),
        taps(x.cross, windows, "all_taps"),
        x.sources,
    )
    y.node.link((x,), lambda g: [back(g, windows)])
    # A function that is 0 at 0 may as well be applied after values were selected.
    if x.latent and all(w.selects for w in windows) and x.latent[1](0.0) == 0:
        base, function = x.latent
        y.latent = spatial(base, windows), function
    return y


def global_average(x, keepdims=False):
    """The average over all positions."""
    count = int(np.prod(x.shape))
    shape = (1,) * len(x.shape) if keepdims else ()
    full = (len(x.channels), *shape)
    y = Moments(
        shape,
        x.channels,
        x.average(x.mean).reshape(full),
        x.pair_average(x.same).reshape(full),
        x.pair_average(x.cross).reshape(full),
        x.sources,
    )
    into = x.mean.shape
    ones = (1,) * len(x.shape)
    y.node.link(
        (x,),
        lambda g: [np.broadcast_to(g.reshape(len(g), *ones) / count**2, into)],
    )
    return y


def flatten(x):
    """All positions become channels."""
    if not x.shape:
        return x
    weights = np.ones(1)
    for n in x.shape:
        counts = np.round(positions.position_weights(n) * n)
        weights = np.multiply.outer(weights, counts)
    channels = np.multiply.outer(x.channels, weights[0]).reshape(-1)
    columns = (
        values.reshape(-1) for values in (x.mean, x.squares, diagonal(x.cross, x.shape))
    )
    y = Moments((), channels, *columns, x.sources)
    into = x.mean.shape
    y.node.link((x,), lambda g: [g.reshape(into)])
    return y


def reshape(x, shape):
    """Axes of length 1 come and go; the channels stay."""
    sizes = [positions.size(n) for n in shape]
    groups = len(x.channels)
    y = Moments(
        shape,
        x.channels,
        x.mean.reshape(groups, *sizes),
        x.same.reshape(groups, *(m * m for m in sizes)),
        x.cross.reshape(groups, *(m * m for m in sizes)),
        x.sources,
    )
    into = x.mean.shape
    y.node.link((x,), lambda g: [g.reshape(into)])
    return y


def permute(x, order):
    """Spatial axes in another order."""
    axes = (0, *(i + 1 for i in order))
    back_axes = np.argsort(axes)
    y = Moments(
        [x.shape[i] for i in order],
        x.channels,
        *(np.transpose(values, axes) for values in (x.mean, x.same, x.cross)),
        x.sources,
    )
    y.node.link((x,), lambda g: [np.transpose(g, back_axes)])
    return y


def merge_space(x, shape):
    """Spatial axes become fewer. What pairs have in common is averaged over space."""
    equal = x.average(x.squares)
    count = np.prod(x.shape)

    def pairs(values):
        own = x.average(diagonal(values, x.shape))
        others = (x.pair_average(values) - own / count) / (1 - 1 / count)
        made = Moments.inputs((*shape, 1), 0.0, 0.0)
        ones = np.ones_like(made.same)
        lift = (len(own), *(1,) * len(shape))
        return set_diagonal(ones * others.reshape(lift), shape, own.reshape(lift))

    mean = x.average(x.mean).reshape(len(equal), *(1,) * len(shape))
    sizes = [positions.size(n) for n in shape]
    y = Moments(
        shape,
        x.channels,
        np.broadcast_to(mean, (len(equal), *sizes)),
        pairs(x.same),
        pairs(x.cross),
        x.sources,
    )
    into, average = x.mean.shape, y.average
    lift = (len(equal), *(1,) * len(x.shape))
    y.node.link((x,), lambda g: [np.broadcast_to(average(g).reshape(lift), into)])
    return y


def unflatten(x, shape):
    """Channels become positions: each position gets channels of its own."""
    *space, channels = shape
    mean = float(x.shares @ x.mean)
    y = Moments.inputs((*space, channels), mean, 0.0)
    set_diagonal(y.same, space, x.mean_square)
    set_diagonal(y.cross, space, float(x.shares @ x.cross))
    y.sources = x.sources
    into, average = x.mean.shape, y.average
    y.node.link((x,), lambda g: [np.full(into, float(average(g)[0]))])
    return y


def taps(values, windows, kind):
    for axis, window in enumerate(windows):
        values = along(getattr(window, kind), values, axis + 1)
    return values


def back(g, windows):
    """The mean square of a gradient at the input positions of windows."""
    for axis, window in enumerate(windows):
        g = along(window.backward, g, axis + 1)
    return g
