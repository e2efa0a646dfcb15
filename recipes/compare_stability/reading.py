"""Reading the arms of a comparison: losses, norms and growth."""

import math

import numpy as np

from recipes.common.experiment.reading import number, numbers


def magnitudes(values):
    """Norms as a float array: nan that was recorded becomes inf, null becomes nan.

    Sums of infinities of both signs are nan, so a norm that is nan has overflowed.
    """
    values = [] if values is None else list(values)
    recorded = np.array([value is not None for value in values], bool)
    values = numbers(values)
    return np.where(recorded & np.isnan(values), np.inf, values)


def chance_loss(results):
    """The loss of a network that guesses: ln(number of classes), `None` if unknown."""
    num_classes = results.get("num_classes")
    return math.log(num_classes) if num_classes else None


def last_value(arm, key):
    """A quantity after the last epoch, or nan for an arm without it."""
    if arm.get("diverged") or not arm.get("epochs"):
        return math.nan
    return number(arm["epochs"][-1].get(key))


def relative_growth(arm):
    """Mean square after every block over that of the input, and its prediction.

    Returns:
        `(measured, predicted)`: float arrays, both divided by the measured mean
        square of the input; either may be empty.
    """
    initial = arm.get("initial") or {}
    measured = numbers(initial.get("mean_square"))
    predicted = numbers(initial.get("predicted"))
    if not measured.size or not measured[0] > 0 or not np.isfinite(measured[0]):
        return np.array([]), np.array([])
    # Sums of infinities of both signs give nan: that is overflow too.
    overflowed = np.logical_or.accumulate(np.isinf(measured))
    measured = np.where(overflowed, np.inf, measured)
    with np.errstate(over="ignore"):
        return measured / measured[0], predicted / measured[0]
