"""What DyT and Derf have in common: all but the function."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from scipy import interpolate

from fixinit import layers, theory
from fixinit._checked import check_fields
from fixinit._validation import (
    MOST_BRANCHES,
    check_number,
    check_positive_int,
    check_variance,
)
from fixinit.schemes.scheme import Scheme
from fixinit.schemes.site import Site
from fixinit.schemes.start import constant

REPLACED = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.GroupNormalization,
    layers.PointwiseNormalization,
)
# Variances for which the mean square of a function is tabulated, in powers of ten.
_LOWEST, _HIGHEST, _POINTS = -12, 12, 2401


@dataclasses.dataclass(frozen=True)
class PointwiseScheme(Scheme):
    """A bounded function at the start of every branch and behind the last block.

    A subclass says which: `kind`, a layer, and `function`, its name in
    `fixinit.theory.activation`.
    """

    alpha: float = 0.5

    kind: ClassVar[Callable[..., keras.layers.Layer]]
    function: ClassVar[str]
    use_bias = None
    refuses_batch_norm = True

    def __post_init__(self) -> None:
        check_fields(self)
        allowed = "a number other than 0, at which all outputs are alike"
        check_number("alpha", self.alpha, allowed, lambda x: x != 0)

    def draw(self, site: Site) -> None:
        return None

    def branch_start(self, site: Site) -> list[keras.layers.Layer]:
        return [self._layer()]

    def network_end(self, site: Site) -> list[keras.layers.Layer]:
        return [self._layer()]

    def normalization(
        self, site: Site, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        return [self._layer(**options_of(self, layer))]

    def _layer(self, **options: Any) -> keras.layers.Layer:
        return type(self).kind(alpha_initializer=constant(self.alpha), **options)

    def predicted_variance(
        self, num_branches: int, input_variance: float = 1.0
    ) -> np.ndarray:
        """`v + E[f(alpha sqrt(v) z)^2]` after every branch, for standard normal z."""
        check_positive_int("num_branches", num_branches, maximum=MOST_BRANCHES)
        variance = [check_variance("input_variance", input_variance)]
        square = _mean_square(self.function)
        for _ in range(num_branches):
            v = variance[-1]
            log = 2 * math.log10(abs(self.alpha)) + math.log10(v) if v else -math.inf
            variance.append(v + square(log))
        return np.array(variance)


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
            "another scheme that takes normalization out, or pass "
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
    kept = {
        f"{name}_{kind}": getattr(layer, f"{name}_{kind}")
        for name in ("beta", "gamma")
        for kind in ("initializer", "regularizer", "constraint")
        if hasattr(layer, f"{name}_{kind}")
    }
    return {
        **kept,
        "axis": axes[0],
        "center": not is_rms and bool(layer.center),
        "scale": is_rms or bool(layer.scale),
    }


@functools.lru_cache
def _mean_square(name: str) -> Callable[[float], float]:
    """`log10(s) -> E[f(sqrt(s) z)^2]`, from a table to 1e-10.

    In proportion to s below the table, and 1, the square of the bound, above.
    """
    logs = np.linspace(_LOWEST, _HIGHEST, _POINTS)
    squares = theory.activation(name).moments(np.zeros(_POINTS), 10**logs)[1]
    table = interpolate.CubicSpline(logs, np.log(squares))

    def square(log: float) -> float:
        if log < _LOWEST:
            return float(squares[0] * 10 ** (log - _LOWEST))
        return 1.0 if log > _HIGHEST else math.exp(table(log))

    return square
