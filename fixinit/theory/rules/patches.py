"""Rules for patches of images and volumes: `ExtractPatches`, `Unfold`."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register


@register("ExtractPatches")
def extract_patches(operation: Any, setting: Setting, x: Moments) -> Moments:
    rank = len(x.shape)
    if rank != len(operation.size):
        raise NoRuleError(
            f"No variance rule for `{setting.name}` of tensors without a batch. "
            f"Received: spatial axes {x.shape} for size={operation.size}"
        )
    size, strides, rates = (
        (value,) * rank if isinstance(value, int) else tuple(value)
        for value in (operation.size, operation.strides, operation.dilation_rate)
    )
    *counts, _ = setting.output_shape
    # What the patches reach to, in front of which half of the padding stands.
    ends = [
        (count - 1) * stride + (n - 1) * rate + 1
        for count, stride, n, rate in zip(counts, strides, size, rates, strict=True)
    ]
    missing = [end - n for end, n in zip(ends, x.shape, strict=True)]
    is_padded = operation.padding == "same"
    before = [max(number, 0) // 2 if is_padded else 0 for number in missing]
    sides = zip(before, missing, strict=True)
    x = calculus.zero_pad(
        x, {axis: (low, total - low) for axis, (low, total) in enumerate(sides)}
    )
    return _cut(x, counts, size, strides, rates)


@register("Unfold")
def unfold(operation: Any, setting: Setting, x: Moments) -> Moments:
    """Patches of images whose channels stand in front of the positions."""
    size, strides, rates, padding = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (
            *(operation.kernel_size, operation.stride),
            *(operation.dilation, operation.padding),
        )
    )
    x = calculus.transpose(x, [1, 2, 0])
    x = calculus.zero_pad(x, {axis: (n, n) for axis, n in enumerate(padding)})
    counts = [
        (length - (n - 1) * rate - 1) // stride + 1
        for length, n, stride, rate in zip(x.shape, size, strides, rates, strict=True)
    ]
    y = _cut(x, counts, size, strides, rates)
    y = calculus.rearrange(y, (math.prod(counts), math.prod(size), x.total_channels))
    y = calculus.transpose(y, [2, 1, 0])
    return calculus.rearrange(y, tuple(setting.output_shape))


def _cut(
    x: Moments,
    counts: Sequence[int],
    size: tuple[int, ...],
    strides: tuple[int, ...],
    rates: tuple[int, ...],
) -> Moments:
    """So many patches along each axis, from the first position on."""
    if strides == size and set(rates) == {1}:
        ends = [n * k for n, k in zip(counts, size, strict=True)]
        cropped = enumerate(zip(ends, x.shape, strict=True))
        x = calculus.zero_pad(x, {axis: (0, end - n) for axis, (end, n) in cropped})
        return _side_by_side(x, counts, size)
    taps = itertools.product(*map(range, size))
    steps = [zip(tap, counts, strides, rates, strict=True) for tap in taps]
    return calculus.concatenate([_of_tap(x, step) for step in steps])


def _side_by_side(x: Moments, counts: Sequence[int], size: Sequence[int]) -> Moments:
    """Patches without overlap: pixels of one become its channels."""
    channels, rank = x.total_channels, len(counts)
    pairs = itertools.chain(*zip(counts, size, strict=True))
    x = calculus.rearrange(x, (*pairs, channels))
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2), 2 * rank]
    x = calculus.transpose(x, order)
    return calculus.rearrange(x, (*counts, math.prod(size) * channels))


def _of_tap(x: Moments, steps: Any) -> Moments:
    """The pixels at one place of all patches."""
    for axis, (place, count, stride, rate) in enumerate(steps):
        first = place * rate
        last = first + (count - 1) * stride
        x = calculus.select(x, axis, range(first, last + 1, stride))
    return x
