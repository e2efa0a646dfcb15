"""Arrays of constants as moments, so that they can be added and multiplied."""

import numpy as np

from fixinit._validation import shown
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import outer, set_diagonal

# Positions whose pairs are listed one by one.
_MOST = 1024


def constant(values: np.ndarray) -> Moments:
    """An array that is the same for all inputs, its channels in no order.

    Example:

    >>> table = np.array([[1.0, -1.0], [3.0, 5.0]])
    >>> x = fixinit.theory.calculus.constant(table)
    >>> x.shape, x.total_channels, x.mean_square, x.mean_value
    ((2,), 2, 9.0, 2.0)

    Args:
        values: Array `(*space, channels)`.

    Returns:
        `Moments`, whose pairs are averages over the channels.
    """
    try:
        array = np.asarray(values, "float64")
    except (TypeError, ValueError, OverflowError):
        array = np.full((), np.nan)
    if not array.ndim or not array.size or np.any(np.isnan(array)):
        raise ValueError(
            "Argument `values` must be an array of numbers `(*space, channels)`. "
            f"Received: values={shown(values, repr)}"
        )
    values = array
    *space, channels = values.shape
    flat = values.reshape(-1, channels)
    mean = positions.average(flat.mean(axis=1), space)
    square = positions.average(np.mean(flat**2, axis=1), space)
    if len(flat) <= _MOST:
        pairs = positions.average_of_pairs(flat @ flat.T / channels, space)
    else:
        # All pairs of different positions deviate from their means alike.
        count, together = len(flat), outer(mean, space)
        spare = np.mean(flat.mean(axis=0) ** 2) - np.mean(flat) ** 2
        own = np.mean(flat**2) - np.mean(flat.mean(axis=1) ** 2)
        pairs = together + (spare - own / count) / (1 - 1 / count)
    set_diagonal(pairs, space, square)
    return Moments(space, [channels], mean, pairs, pairs.copy(), frozenset([object()]))
