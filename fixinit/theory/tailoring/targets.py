"""What one activation is to have, so that no subnetwork has more than a target."""

import math
from collections.abc import Callable
from typing import TypeAlias

from scipy import optimize

from fixinit._validation import check_choice, check_number
from fixinit.theory.errors import NoRuleError

METHODS = ("tat", "dks")
# The largest value over all subnetworks, from an input and the map of one activation.
Maximum: TypeAlias = Callable[[float, Callable[[float], float]], float]

_MOST = 2.0**30
_STATED = {"leaky": "C_f(0)", "tat": "C''_f(1)", "dks": "C'_f(1)"}
_DEFAULTS = {"leaky": 0.9, "tat": 0.3, "dks": 1.5}


def kind_of(method: str, is_rectifier: bool) -> str:
    """`"leaky"`, `"tat"` or `"dks"`: which of the targets holds for an activation."""
    check_choice("method", method, METHODS)
    return "leaky" if method == "tat" and is_rectifier else method


def check_target(kind: str, target: float | None) -> float:
    """The target that was given, or the papers' own.

    Between 0 and 1 for `C_f(0)`, positive for `C''_f(1)`, above 1 for `C'_f(1)`.
    """
    allowed, test = {
        "leaky": ("a number between 0 and 1, exclusive", lambda x: 0 < x < 1),
        "tat": ("a positive number", lambda x: x > 0),
        "dks": ("a number above 1", lambda x: x > 1),
    }[kind]
    if target is None:
        return _DEFAULTS[kind]
    return check_number("target", target, f"{allowed}, for {_STATED[kind]}", test)


def local_target(kind: str, maximum: Maximum, target: float) -> float:
    """What one activation is to have: a slope below 0, `C''(1)` or `C'(1)`.

    Args:
        kind: `"leaky"`: the slope of a leaky ReLU below 0. `"tat"`: the second
            derivative of its C map at 1, which composition adds up. `"dks"`: the first
            one, which composition multiplies.
        maximum: Callable `(x, local_map) -> float`, the largest value over subnetworks.
        target: float, the largest that the network may have.

    Raises:
        ValueError: If nothing reaches the target.
    """
    if kind == "leaky":
        return _negative_slope(maximum, target)
    if kind == "tat":
        return _solved(kind, lambda x: maximum(0.0, lambda c: c + x), target, 0.0)
    return _solved(kind, lambda x: maximum(1.0, lambda c: c * x), target, 1.0)


def leaky_relu_map(negative_slope: float) -> Callable[[float], float]:
    """The C map of a leaky ReLU, in closed form: TAT, equation 9.

    ((1 - a)^2 (sqrt(1 - c^2) + (pi - acos c) c) / pi + 2 a c) / (1 + a^2)
    """
    a = negative_slope
    bend, line = (1 - a) ** 2 / math.pi / (1 + a**2), 2 * a / (1 + a**2)

    def correlation_map(c: float) -> float:
        c = min(max(c, -1.0), 1.0)
        root = math.sqrt((1 - c) * (1 + c))
        return bend * (root + (math.pi - math.acos(c)) * c) + line * c

    return correlation_map


def _negative_slope(maximum: Maximum, target: float) -> float:
    def excess(slope: float) -> float:
        return maximum(0.0, leaky_relu_map(slope)) - target

    most = excess(0.0)
    if most < 0:
        raise ValueError(
            f"The target C_f(0) = {target} is not reachable: with plain ReLUs, a slope "
            f"of 0, it is {most + target:.6g} at most over the subnetworks. The "
            "network is too shallow to be that nonlinear. Pass a lower `target`."
        )
    return float(optimize.brentq(excess, 0.0, 1.0, xtol=1e-14))


def _solved(
    kind: str, largest: Callable[[float], float], target: float, least: float
) -> float:
    """The local value at which the largest one is the target."""
    step = 1.0
    while largest(least + step) < target:
        step *= 2
        if step > _MOST:
            raise ValueError(
                f"The target {_STATED[kind]} = {target} is not reachable: whatever its "
                f"activations are, the network has {largest(least):.6g}. It needs "
                "activations between its weight layers."
            )
    found = optimize.brentq(
        lambda x: largest(least + x) - target, 0.0, step, xtol=1e-16, rtol=1e-14
    )
    return least + float(found)


def most_local(kind: str, maximum: Maximum, target: float) -> float:
    """As `local_target`, where a network may stay below its target.

    Returns:
        float. Where nothing reaches the target: for `"leaky"` 0, the slope of a ReLU,
        otherwise what the target would be for a network of one activation.

    Raises:
        NoRuleError: If what the network does to correlations is not known.
    """
    try:
        return local_target(kind, maximum, target)
    except NoRuleError:
        raise
    except ValueError:
        return 0.0 if kind == "leaky" else target
