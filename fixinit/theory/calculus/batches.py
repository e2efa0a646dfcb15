"""Positions that become inputs of the batch, as windows and frames do, and back."""

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_size
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import along


@checked
def into_batch(x: Moments, within: bool = False) -> Moments:
    """Makes every position of the first spatial axis an input of its own.

    Two inputs have in common what two positions of different inputs had, on average.
    With `within`, they have in common what two different positions of one input had;
    gradients do not go back through that.

    Example:

    >>> x = fixinit.theory.Moments.inputs((4, 8, 16))
    >>> fixinit.theory.calculus.into_batch(x).shape
    (8,)

    Args:
        x: `fixinit.theory.Moments` with at least one spatial axis.
        within: bool. Whether pairs of inputs come from one input; `False` by default.

    Returns:
        `Moments` without that axis.
    """
    if not x.shape:
        raise ValueError(
            "Argument `x` must have a spatial axis. Received: x of shape ()"
        )
    count, *rest = x.shape
    m = positions.size(count)
    own = np.zeros(m * m)
    own[:: m + 1] = positions.position_weights(count)

    def reduced(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        return along(weights[None], values, 1)[:, 0]

    weights = positions.pair_weights(count)
    if within:
        apart = np.where(np.arange(m * m) % (m + 1), weights, 0.0)
        weights = apart / apart.sum() if count > 1 else own
    y = Moments(
        rest,
        x.channels,
        reduced(positions.position_weights(count), x.mean),
        reduced(own, x.same),
        reduced(weights, x.same if within else x.cross),
        x.sources,
    )
    into = x.mean.shape
    if not within:
        y.node.link((x,), lambda g: [np.broadcast_to(g[:, None], into)])
    if x.latent:
        y.latent = into_batch(x.latent[0], within), x.latent[1]
    return y


@checked
def from_batch(x: Moments, count: int, within: Moments | None = None) -> Moments:
    """Makes every `count` inputs the positions of a new first spatial axis.

    Different positions of it have in common what different inputs have, or what those
    of `within` have.

    Example:

    >>> x = fixinit.theory.Moments.inputs((8, 16))
    >>> fixinit.theory.calculus.from_batch(x, 4).shape
    (4, 8)

    Args:
        x: `fixinit.theory.Moments`.
        count: int, the size of the new axis.
        within: `Moments` of the same tensor for inputs that come from one input; `None`
            (default) for those of `x`.

    Returns:
        `Moments` with that axis.

    Raises:
        ValueError: If `within` has other axes or channels than `x`.
    """
    check_size("count", count)
    groups = list(x.channels)
    if within is not None and (within.shape, list(within.channels)) != (
        x.shape,
        groups,
    ):
        raise ValueError(
            "Argument `within` must have the shape and channels of `x`, "
            f"{x.shape} and {groups}. Received: {within.shape} and "
            f"{list(within.channels)}"
        )
    m = positions.size(count)

    def repeated(values: np.ndarray, size: int) -> np.ndarray:
        return np.repeat(values[:, None], size, axis=1)

    pairs = x if within is None else within
    same, cross = repeated(pairs.cross, m * m), repeated(x.cross, m * m)
    same[:, :: m + 1] = x.same[:, None]
    mean = repeated(x.mean, m)
    y = Moments((count, *x.shape), x.channels, mean, same, cross, x.sources)
    weights = positions.position_weights(count)[None]
    y.node.link((x,), lambda g: [along(weights, g, 1)[:, 0]])
    if x.latent and (within is None or within.latent):
        others = within.latent[0] if within and within.latent else None
        y.latent = from_batch(x.latent[0], count, others), x.latent[1]
    return y
