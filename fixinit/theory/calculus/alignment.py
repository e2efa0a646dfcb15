"""Values that are joined: brought to one shape, and refused where they depend."""

from collections.abc import Sequence

import numpy as np

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.reshaping import reshape
from fixinit.theory.calculus.sources import overlap
from fixinit.theory.calculus.space import spatial
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError


class Dependent(NoRuleError):
    """Joined values depend on the same weights, so that their covariance is not known.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 8, 16))
    >>> window = fixinit.theory.calculus.Window.convolution(8, kernel=2)
    >>> moved = fixinit.theory.calculus.spatial(x, [window, window])
    >>> try:
    ...     fixinit.theory.calculus.multiply([moved, x])
    ... except fixinit.theory.calculus.Dependent:
    ...     print("both depend on x")
    both depend on x
    """


def check_any(xs: Sequence[Moments]) -> None:
    """Refuses an empty list of values."""
    if not xs:
        raise ValueError("Argument `xs` must hold at least one value. Received: xs=()")


def check_independent(xs: Sequence[Moments]) -> None:
    """Refuses values that have drawn from the same weights."""
    seen: set = set()
    for x in xs:
        if overlap(seen, x.sources) and np.any(x.same):
            raise Dependent(
                "joins values that depend on the same weights in different ways, whose "
                "covariance is not known"
            )
        seen |= x.sources


def aligned(xs: Sequence[Moments]) -> list[Moments]:
    """Broadcasts values against each other, and splits them into the same groups."""
    xs = [_broadcast(x, xs) for x in xs]
    whole = max(x.total_channels for x in xs)
    found = {int(end) for x in xs for end in np.cumsum(x.channels)} | {whole}
    ends = np.array(sorted(found))
    counts = np.diff(ends, prepend=0)
    return [_split(x, counts, ends) for x in xs]


def _broadcast(x: Moments, xs: Sequence[Moments]) -> Moments:
    rank = max(len(y.shape) for y in xs)
    xs = [reshape(y, (*(1,) * (rank - len(y.shape)), *y.shape)) for y in xs]
    x = reshape(x, (*(1,) * (rank - len(x.shape)), *x.shape))
    shape = tuple(max(sizes) for sizes in zip(*(y.shape for y in xs), strict=True))
    if x.shape == shape:
        return x
    windows = [
        Window.gather(n, 0, out, repeat=out if n == 1 else 1)
        for n, out in zip(x.shape, shape, strict=True)
    ]
    return spatial(x, windows)


def _split(x: Moments, counts: np.ndarray, ends: np.ndarray) -> Moments:
    """`x` with its channels in groups of given sizes."""
    if len(counts) == len(x.channels):
        return x
    if x.total_channels == 1:
        index = np.zeros(len(counts), int)
    else:
        index = np.searchsorted(np.cumsum(x.channels), ends)
    y = Moments(
        x.shape, counts, x.mean[index], x.same[index], x.cross[index], x.sources
    )
    if x.latent:
        y.latent = (_split(x.latent[0], counts, ends), x.latent[1])
    into = x.mean.shape
    shares = (counts / x.channels[index]).reshape(-1, *(1,) * len(x.shape))

    def pull(g: np.ndarray) -> list[np.ndarray]:
        result = np.zeros(into)
        np.add.at(result, index, g * shares)
        return [result]

    y.node.link((x,), pull)
    return y
