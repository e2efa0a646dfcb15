"""Solves for the constants that give an activation its local conditions."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
from scipy import optimize

from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.piecewise import PiecewiseLinear
from fixinit.theory.gaussian.slopes import Slopes, slopes

_TOLERANCE = 1e-9
# What most activations have a solution near, then a grid.
_SCALES, _SHIFTS = (1.0, 0.1), (0.0, 1.0, -1.0)
_GRID_SCALES = (0.03, 0.3, 2.0)
_GRID_SHIFTS = (0.5, -0.5, 2.0, -2.0, 3.0, -3.0)
# The largest slope of a shaped activation: steeper ones saturate nearly everywhere, and
# what they give changes fast with the variance.
_STEEPEST = 2.0
_RANGE = np.linspace(-4.0, 4.0, 257)
_LOG_RANGE = (-9.0, 6.0)


@dataclasses.dataclass(frozen=True)
class Constants:
    """`output_scale * (phi(input_scale * x + input_shift) + output_shift)`."""

    input_scale: float
    input_shift: float
    output_shift: float
    output_scale: float
    negative_slope: float | None = None


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A shaped activation and the conditions that it meets at a variance of 1."""

    constants: Constants
    moments: Slopes

    @property
    def variance_slope(self) -> float:
        """`Q'(1)`."""
        c, m = self.constants, self.moments
        inner = m.product + c.output_shift * m.tilt
        return c.output_scale * c.output_scale * c.input_scale * inner

    @property
    def slope(self) -> float:
        """`C'(1)`."""
        steepness = self.constants.output_scale * self.constants.input_scale
        return steepness * steepness * self.moments.slope

    @property
    def curvature(self) -> float:
        """`C''(1)`."""
        bend = self.constants.output_scale * self.constants.input_scale**2
        return bend * bend * self.moments.curvature


def solve_tat(function: Function, name: str, curvature: float) -> Constants:
    """Constants with `Q(1) = Q'(1) = C'(1) = 1` and a given `C''(1)`: TAT, section 3.3.

    Args:
        function: phi.
        name: String, for errors.
        curvature: float, `C''(1)`.

    Raises:
        ValueError: If there are none.
    """

    def made(p: np.ndarray) -> _Shape:
        return _shape(function, p[0], p[1], p[2])

    def conditions(shape: _Shape) -> dict[str, tuple[float, float]]:
        return {
            "Q'(1)": (shape.variance_slope, 1.0),
            "C'(1)": (shape.slope, 1.0),
            "C''(1)": (shape.curvature, curvature),
        }

    starts = (
        (math.log(scale), *shifts)
        for scale, *shifts in itertools.chain(
            itertools.product(_SCALES, _SHIFTS, _SHIFTS),
            itertools.product(_GRID_SCALES, _GRID_SHIFTS, _GRID_SHIFTS),
        )
    )
    steepest = float(np.max(np.abs(function.derivative(_RANGE))))

    def is_gentle(c: Constants) -> bool:
        return c.input_scale * c.output_scale * steepest < _STEEPEST

    found = _solve(made, conditions, starts, f"{name} under TAT", is_gentle)
    return _mirrored(function, found)


def solve_dks(function: Function, name: str, slope: float) -> Constants:
    """Constants with `Q(1) = Q'(1) = 1`, `C(0) = 0` and a given `C'(1)`: DKS, 9.1.

    Args:
        function: phi.
        name: String, for errors.
        slope: float, `C'(1)`.

    Raises:
        ValueError: If there are none.
    """

    def made(p: np.ndarray) -> _Shape:
        return _shape(function, p[0], p[1])

    starts = (
        (math.log(scale), shift)
        for scale, shift in itertools.chain(
            itertools.product(_SCALES, _SHIFTS),
            itertools.product(_GRID_SCALES, _GRID_SHIFTS),
        )
    )
    found = _solve(made, _dks_conditions(slope), starts, f"{name} under DKS")
    return _mirrored(function, found)


def solve_leaky_dks(slope: float) -> Constants:
    """As `solve_dks` for leaky ReLUs, whose slope below 0 takes the scale's part."""

    def made(p: np.ndarray) -> _Shape:
        leaky = PiecewiseLinear([0.0], [p[0], 1.0])
        return _shape(leaky, 0.0, p[1], negative_slope=float(p[0]))

    starts = itertools.product((0.0, 0.5, 0.9), (0.0, 1.0, -1.0, 0.3, -0.3))
    return _solve(made, _dks_conditions(slope), starts, "leaky_relu under DKS")


def _dks_conditions(
    slope: float,
) -> Callable[[_Shape], dict[str, tuple[float, float]]]:
    return lambda shape: {
        "Q'(1)": (shape.variance_slope, 1.0),
        "C'(1)": (shape.slope, slope),
    }


def _mirrored(function: Function, found: Constants) -> Constants:
    """Of two solutions that an odd function has, the one shifted to positive inputs."""
    x = np.linspace(0.0, 4.0, 33)
    is_odd = np.allclose(function(-x), -function(x), rtol=1e-12, atol=1e-14)
    if not is_odd or found.input_shift >= 0:
        return found
    shifts = -found.input_shift, -found.output_shift
    return dataclasses.replace(found, input_shift=shifts[0], output_shift=shifts[1])


def _shape(
    function: Function,
    log_scale: float,
    shift: float,
    output_shift: float | None = None,
    negative_slope: float | None = None,
) -> _Shape:
    """The shape with `Q(1) = 1` and, where no shift is given, a mean of 0."""
    scale = float(np.exp(np.clip(log_scale, *_LOG_RANGE)))
    moments = slopes(function, float(shift), scale)
    u = -moments.mean if output_shift is None else float(output_shift)
    square = moments.square + 2 * u * moments.mean + u * u
    size = 1 / math.sqrt(square) if square > 0 else math.inf
    return _Shape(Constants(scale, float(shift), u, size, negative_slope), moments)


def _solve(
    made: Callable[[np.ndarray], _Shape],
    conditions: Callable[[_Shape], dict[str, tuple[float, float]]],
    starts: Iterable[tuple[float, ...]],
    name: str,
    accepts: Callable[[Constants], bool] = lambda constants: True,
) -> Constants:
    """The first solution that one of the starts leads to and that is accepted.

    If none is, the least steep one.
    """

    def misses(p: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            pairs = conditions(made(p)).values()
            off = np.array([value - wanted for value, wanted in pairs])
        return np.nan_to_num(off, nan=1e6, posinf=1e6, neginf=-1e6)

    nearest, least, others = None, math.inf, []
    for start in starts:
        found = optimize.root(misses, np.array(start), method="hybr", tol=1e-13)
        shape, size = made(found.x), float(np.max(np.abs(misses(found.x))))
        if size < _TOLERANCE:
            if accepts(shape.constants):
                return shape.constants
            others.append(shape.constants)
        if size < least:
            nearest, least = shape, size
    if others:
        return min(others, key=lambda c: c.input_scale * c.output_scale)
    assert nearest is not None
    raise ValueError(_unreachable(name, conditions(nearest)))


def _unreachable(name: str, conditions: dict[str, tuple[float, float]]) -> str:
    worst = max(conditions, key=lambda key: abs(np.subtract(*conditions[key])))
    value, wanted = conditions[worst]
    met = ", ".join(f"{key} = {value:.6g}" for key, (value, _) in conditions.items())
    asked = ", ".join(f"{key} = {want:.6g}" for key, (_, want) in conditions.items())
    return (
        f"No constants give {name} the local conditions {asked}: "
        f"{worst} = {wanted:.6g} is not reachable, the nearest was {met}. Pass a lower "
        "`target`, or another "
        "activation."
    )
