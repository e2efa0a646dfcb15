"""Rules for operations that mix positions: gathers of scores, Fourier transforms."""

import functools
from typing import Any

import numpy as np

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import set_diagonal
from fixinit.theory.calculus.sites import sites
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, how_to_register, register


@register("TakeAlongAxis")
def take_along_axis(operation: Any, setting: Setting, x: Any, indices: Any) -> Moments:
    """Values that are alike, at other places: scores of relative positions."""
    if not isinstance(x, Moments):
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which takes numbers by "
            f"activations. {how_to_register(operation)}"
        )
    mean, square = x.mean_value, x.mean_square
    shape = tuple(n or 1 for n in setting.output_shape)
    y = Moments.inputs(shape, mean, max(square - mean**2, 0.0))
    y.sources |= x.sources
    into, average = x.mean.shape, y.average
    times = np.prod(shape) / np.prod((*x.shape, x.total_channels))
    y.node.link((x,), lambda g: [np.full(into, times * float(average(g).mean()))])
    return y


@register("FFT2")
def fourier(operation: Any, setting: Setting, parts: Any) -> list[Moments]:
    """A Fourier transform of real values over channels and the last spatial axis.

    Real and imaginary parts share `n E|h_f|^2 / 2`, with n the number of channels and
    `E|h_f|^2 = sum_pq E[h_p h_q] cos(2 pi f (p - q) / T)` that of a frequency f of
    positions. Frequencies do not covary.
    """
    x, imaginary = parts
    zero = not isinstance(imaginary, Moments) or not np.any(imaginary.same)
    if not isinstance(x, Moments) or not x.shape or not zero:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` but of real values with an axis of "
            f"positions. {how_to_register(operation)}"
        )
    places, channels = sites(x.shape[-1]), x.total_channels
    if len(x.shape) > 1 or len(places.index) < x.shape[-1]:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` but over one axis of at most 256 "
            f"positions. {how_to_register(operation)}"
        )
    length, lags = x.shape[-1], np.subtract.outer(places.index, places.index)
    powers = []
    for values in (x.same, x.cross):
        full = places.spread_pairs(np.tensordot(x.shares, values, (0, 0)))
        waves = np.exp(-2j * np.pi * np.outer(places.index, places.index) / length)
        powers.append(np.einsum("fp,pq,fq->f", waves, full, waves.conj()).real)
    found = []
    for _ in range(2):
        same, cross = (places.gather(channels * p / 2) for p in powers)
        zeros = np.zeros((1, lags.shape[0]))
        y = Moments(
            x.shape,
            [channels],
            places.gather(zeros),
            set_diagonal(np.zeros_like(x.same[:1]), x.shape, same[None]),
            set_diagonal(np.zeros_like(x.same[:1]), x.shape, cross[None]),
            frozenset([object()]),
        )
        y.node.link((x,), functools.partial(_back, x, length * channels / 2))
        found.append(y)
    return found


def _back(x: Moments, gain: float, g: np.ndarray) -> list[np.ndarray]:
    return [np.full(x.mean.shape, gain * float(x.average(g).mean()))]
