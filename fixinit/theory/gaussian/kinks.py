"""Finds the points where a function or its derivative jumps."""

from collections.abc import Callable

import numpy as np

_POINTS, _HALVINGS = 2049, 40
_MOST = 16
# Of the largest value: smaller jumps do not matter to integrals.
_SMALLEST = 0.01


def find_kinks(
    value: Callable[[np.ndarray], np.ndarray],
    derivative: Callable[[np.ndarray], np.ndarray],
    low: float = -16.0,
    high: float = 16.0,
) -> tuple[float, ...]:
    """The points of an interval where a function or its derivative jumps.

    Steps between neighbours on a grid are halved: those of a smooth function become
    small.

    Args:
        value, derivative: Callables from an array to an array of its shape.
        low, high: floats, the ends of the interval.
    """
    found: set[float] = set()
    for function in (value, derivative):
        found.update(_jumps(function, np.linspace(low, high, _POINTS)))
    return tuple(sorted(found))


def _jumps(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> list[float]:
    y = np.nan_to_num(function(x))
    steps = np.abs(np.diff(y))
    floor = _SMALLEST * np.max(np.abs(y))
    largest = np.argsort(steps)[-_MOST:]
    largest = largest[steps[largest] > floor]
    if not len(largest):
        return []
    left, right = x[largest], x[largest + 1]
    before, after = y[largest], y[largest + 1]
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        between = np.nan_to_num(function(middle))
        is_first = np.abs(between - before) > np.abs(after - between)
        right, after = np.where(is_first, (middle, between), (right, after))
        left, before = np.where(is_first, (left, before), (middle, between))
    return right[np.abs(after - before) > steps[largest] / 4].tolist()
