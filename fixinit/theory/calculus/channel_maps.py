"""Channels that are multiplied by known matrices, one for every position."""

import numpy as np

from fixinit.theory.calculus.known import over_pairs, over_positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import outer


def map_channels(x: Moments, maps: np.ndarray) -> Moments:
    """Multiplies the channels at position p by a matrix, `y_p = x_p R_p`.

    For channels that are alike and independent, pairs of positions are multiplied by
    `tr(R_p R_q^T) / channels`. Rotations that differ between positions leave less of
    what these have in common.

    Args:
        x: `fixinit.theory.Moments`.
        maps: Array `(*positions, channels, outputs)`, of the positions of
            `fixinit.theory.calculus.sites`.

    Returns:
        `Moments` of as many channels as there are outputs.
    """
    space, outputs = list(x.shape), maps.shape[-1]
    flat = maps.reshape(-1, maps.shape[-2] * outputs)
    shared = over_pairs(flat @ flat.T / outputs, space)
    sums = maps.sum(axis=-2).reshape(len(flat), outputs)
    mean_sums = over_positions(sums.mean(axis=1), space)
    means = over_pairs(sums @ sums.T / outputs, space) - shared
    shares = x.shares

    def averaged(values: np.ndarray) -> np.ndarray:
        return np.tensordot(shares, values, (0, 0))[None]

    mean = averaged(x.mean)
    drift = means * averaged(outer(x.mean, x.shape))
    y = Moments(
        x.shape,
        [outputs],
        mean * mean_sums,
        averaged(x.same) * shared + drift,
        averaged(x.cross) * shared + drift,
        x.sources,
    )
    squares = (maps**2).sum(axis=(-2, -1)).ravel() / maps.shape[-2]
    back, copies = over_positions(squares, space), len(shares)
    y.node.link((x,), lambda g: [np.repeat(g * back, copies, axis=0)])
    return y
