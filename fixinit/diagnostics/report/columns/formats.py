"""Shares of numbers beyond and below the ranges of number formats."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from keras import ops

from fixinit._typing import Tensor


@dataclasses.dataclass(frozen=True)
class NumberFormat:
    """Range of a floating-point format, under rounding to the nearest, ties to even.

    Example:

    >>> from fixinit.diagnostics.report.columns.formats import FORMATS
    >>> FORMATS["float16"].overflow
    65520.0

    Attributes:
        overflow: float. Magnitudes from here on round to more than the largest number.
        underflow: float. Magnitudes up to this one round to 0: half of the smallest.
    """

    overflow: float
    underflow: float


def _format(
    mantissa: int, least_exponent: int, exponent: int, largest: float
) -> NumberFormat:
    """The range of a format.

    Args:
        mantissa: int. Number of explicit bits.
        least_exponent: int. Of the smallest normal number.
        exponent: int. Of the largest number.
        largest: float. The largest number.
    """
    half_step = 2.0 ** (exponent - mantissa - 1)
    return NumberFormat(largest + half_step, 2.0 ** (least_exponent - mantissa - 1))


# IEEE 754 binary16; bfloat16; the two of "FP8 Formats for Deep Learning"
# (https://arxiv.org/abs/2209.05433), E4M3 without infinities.
FORMATS = {
    "float16": _format(10, -14, 15, 65504.0),
    "bfloat16": _format(7, -126, 127, (2 - 2.0**-7) * 2.0**127),
    # Half a step above 448, a tie rounds to the even 448.
    "float8_e4m3": dataclasses.replace(
        _format(3, -6, 8, 448.0), overflow=float(np.nextafter(np.float32(464), 500))
    ),
    "float8_e5m2": _format(2, -14, 15, 57344.0),
}


@dataclasses.dataclass(frozen=True)
class FormatShares:
    """Shares of numbers that a format would turn into infinity (or NaN), and into 0.

    Infinities count as overflow, zeros do not count as underflow. A scale, as of
    tensors in float8, is not applied.

    Attributes:
        name: String, the name of the format.
    """

    name: str
    size = 2

    def __call__(self, h: Tensor) -> Tensor:
        """Observes a float32 tensor."""
        limits, size = FORMATS[self.name], ops.abs(h)
        low = ops.logical_and(size <= limits.underflow, size > 0)
        shares = [size >= limits.overflow, low]
        return ops.stack([ops.mean(ops.cast(s, "float32")) for s in shares])

    def columns(self, observed: np.ndarray, scale: float) -> Mapping[str, float]:
        """The columns that what was observed gives.

        Gradients are those that `fit` computes, of the loss times `scale`.
        """
        overflow, underflow = observed.tolist()
        return {
            f"{self.name}_overflow": overflow,
            f"{self.name}_underflow": underflow,
        }
