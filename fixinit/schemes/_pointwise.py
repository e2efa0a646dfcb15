"""What DyT and Derf have in common: what they replace, and what follows from it."""

import math
from typing import Any

import keras
import numpy as np
from scipy import interpolate

from fixinit import layers, theory
from fixinit._validation import (
    MOST_BRANCHES,
    check_number,
    check_positive_int,
    check_variance,
)
from fixinit.schemes.scheme import Scheme

REPLACED = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.GroupNormalization,
    layers.PointwiseNormalization,
)
# Variances for which the mean square of a function is tabulated, in powers of ten.
_LOWEST, _HIGHEST, _POINTS = -12, 12, 2401


def check_alpha(alpha: float) -> None:
    """Refuses a start at which the function would be flat."""
    allowed = "a number other than 0, at which all outputs are alike"
    check_number("alpha", alpha, allowed, lambda x: x != 0)


def options_of(scheme: Scheme, layer: keras.layers.Layer) -> dict[str, Any]:
    """The arguments of the function that takes the place of a normalization.

    Raises:
        ValueError: If it is a batch normalization or of another kind, or normalizes
            over several axes.
    """
    if not isinstance(layer, REPLACED):
        reason = ""
        if isinstance(layer, keras.layers.BatchNormalization):
            reason = (
                " Its authors found worse results in the place of batch normalization."
            )
        raise ValueError(
            f"The scheme {scheme.name!r} takes the place of normalizations of tokens: "
            f"{', '.join(kind.__name__ for kind in REPLACED)}.{reason} Received: "
            f"{layer.name!r}, a {type(layer).__name__}. Convert with 'fixup', or "
            "another scheme of fixinit.schemes.names(), or pass "
            f"keep=({layer.name!r},)."
        )
    axis = getattr(layer, "axis", -1)
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    if len(axes) > 1:
        raise ValueError(
            f"The scheme {scheme.name!r} scales one axis, the channels. Received: "
            f"{layer.name!r}, which normalizes over axis={axis}. Pass "
            f"keep=({layer.name!r},), or another scheme."
        )
    # A root mean square normalization has a scale, and no shift.
    is_rms = not hasattr(layer, "center") or getattr(layer, "rms_scaling", False)
    return {
        "axis": axes[0],
        "center": not is_rms and bool(layer.center),
        "scale": is_rms or bool(layer.scale),
    }


def predicted_variance(
    name: str, alpha: float, num_branches: int, input_variance: float
) -> np.ndarray:
    """`v + E[f(alpha sqrt(v) z)^2]` after every branch, for standard normal z.

    The mean square is interpolated between 100 points for every power of ten, to 1e-10.
    """
    check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
    variance = [check_variance("input_variance", input_variance)]
    logs = np.linspace(_LOWEST, _HIGHEST, _POINTS)
    function = theory.activation(name)
    squares = function.moments(np.zeros(_POINTS), alpha**2 * 10**logs)[1]
    square = interpolate.CubicSpline(logs, np.log(squares))
    for _ in range(num_branches):
        v = variance[-1]
        log = np.clip(math.log10(v), _LOWEST, _HIGHEST) if v else _LOWEST
        variance.append(v + math.exp(square(log)) * bool(v))
    return np.array(variance)
