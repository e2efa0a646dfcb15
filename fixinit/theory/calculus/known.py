"""Tensors whose numbers are known: positions, masks, tokens, tables of sines."""

from typing import Any

import numpy as np

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.sites import sites

# Pairs of more positions are taken apart into the means of both.
_MOST = 1024


class Known(Moments):
    """The moments of an array that is known, over its samples and channels.

    Example:

    >>> from fixinit.theory.calculus.known import known
    >>> x = known(np.array([[[1.0], [3.0]]]))  # (batch, positions, channels)
    >>> x.shape, x.mean_value, x.mean_square, x.variance
    ((2,), 2.0, 5.0, 1.0)

    Attributes:
        array: NumPy array, a few samples in front.
        is_batch: bool. Whether there are samples in front; weights have none.
    """

    array: np.ndarray
    is_batch: bool


def known(array: Any, is_batch: bool = True) -> Known:
    """An array `(samples, *space, channels)` as `Known`, or one without samples."""
    given = np.asarray(array)
    array = given if is_batch else given[None]
    x = array.astype("float64").reshape(len(array) if array.ndim else 1, -1)
    shape = array.shape[1:] or (1,)
    *space, channels = shape
    x = x.reshape(len(x), *shape)
    for axis, n in enumerate(space):
        x = np.take(x, sites(n).index, axis=axis + 1)
    count = int(np.prod(x.shape[1:-1]))
    flat = x.reshape(len(x), count, -1)
    mean = over_positions(flat.mean(axis=(0, 2)), space)
    if count <= _MOST:
        total = flat.sum(axis=0)
        own = np.einsum("npc,nqc->pq", flat, flat, optimize=True)
        both = total @ total.T
        same = own / (len(x) * channels)
        cross = same
        if len(x) > 1:
            cross = (both - own) / (len(x) * (len(x) - 1) * channels)
    else:
        level = flat.mean(axis=(0, 2))
        same = np.multiply.outer(level, level)
        cross = same.copy()
        np.fill_diagonal(same, np.mean(flat**2, axis=(0, 2)))
    y = Known(
        space, [channels], mean, over_pairs(same, space), over_pairs(cross, space)
    )
    y.array, y.is_batch = given, is_batch
    return y


def over_positions(values: np.ndarray, space: list[int]) -> np.ndarray:
    """`(positions,)` as `(1, *classes)`."""
    values = values.reshape(tuple(len(sites(n).index) for n in space))
    for axis, n in enumerate(space):
        values = np.moveaxis(sites(n).gather(np.moveaxis(values, axis, -1)), -1, axis)
    return values[None]


def over_pairs(values: np.ndarray, space: list[int]) -> np.ndarray:
    """`(positions, positions)` as `(1, *classes of pairs)`."""
    sizes, rank = [len(sites(n).index) for n in space], len(space)
    values = values.reshape((*sizes, *sizes))
    for axis, n in enumerate(space):
        # The classes of this axis, at the end; of those behind, pairs are still apart.
        left = rank - axis
        values = np.moveaxis(values, (0, left), (-2, -1))
        values = sites(n).gather_pairs(values)
    return values[None]


def same_tokens(x: Known, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How often two positions hold the same of `count` tokens, `(1, *pairs)` each.

    Returns:
        Two arrays: in one input, and in two.
    """
    tokens = x.array.astype("int64") % count
    space = list(tokens.shape[1:])
    for axis, n in enumerate(space):
        tokens = np.take(tokens, sites(n).index, axis=axis + 1)
    flat = tokens.reshape(len(tokens), -1)
    equal = flat[:, None, :, None] == flat[None, :, None, :]
    n = len(flat)
    own = np.mean([equal[i, i] for i in range(n)], axis=0)
    others = own
    if n > 1:
        others = (np.sum(equal, axis=(0, 1)) - n * own) / (n * (n - 1))
    return over_pairs(own, space), over_pairs(others, space)


def is_long(shape: tuple[int, ...]) -> bool:
    """Whether an input has too many numbers to write all of them down."""
    return int(np.prod(shape)) > 64 * _MOST or any(n > 4096 for n in shape)


def example(name: str, shape: tuple[int, ...], dtype: str, samples: int) -> np.ndarray:
    """Whole numbers for an input: tokens that all differ, and masks that hide nothing.

    Args:
        name: String, the name of the input. Masks are those of truth values, and those
            that are called so.
        shape: Tuple of ints, without the batch.
        dtype: String.
        samples: int.
    """
    if dtype == "bool" or "mask" in name:
        return np.ones((samples, *shape), dtype)
    count = samples * int(np.prod(shape))
    largest = np.iinfo(dtype).max
    return (1 + np.arange(count) % largest).reshape(samples, *shape).astype(dtype)
