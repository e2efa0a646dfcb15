"""What is said of a network in which nothing was found."""

import math
from typing import TYPE_CHECKING

from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.growth import Growth

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis


def healthy(diagnosis: "Diagnosis") -> Finding:
    """The verdict on a `Diagnosis` without findings: how signals grow."""
    growth = diagnosis.growth
    if math.isnan(growth.rate):
        text = (
            f"Nothing was found: activations and gradients of all "
            f"{len(diagnosis.layers)} layers are finite."
        )
    else:
        text = f"Nothing was found. The mean square {_law(diagnosis, growth)}."
    gradients = diagnosis.curve("gradient_mean_square")
    if len(gradients) and not gradients.any():
        text += (
            f" The gradient is zero in all {step_of(diagnosis)}s, as the layers behind "
            "them start at zero: it comes with the second step."
        )
    return Finding("healthy", "note", "", growth.total, text)


def _law(diagnosis: "Diagnosis", growth: Growth) -> str:
    step, total = step_of(diagnosis), total_of(diagnosis, growth)
    power = f"like the power {growth.slope:.2f} of the {step}'s index: {total}"
    if growth.kind == "linear" and growth.slope > 0:
        slope = f"{growth.slope:.2f} of the first value per {step}"
        return f"grows linearly, by {slope}: {total}"
    if growth.kind in ("linear", "polynomial"):
        return f"{'grows' if growth.slope > 0 else 'falls'} {power}"
    if growth.kind == "bounded":
        return f"is bounded: {total}, {factor_of(growth)} per {step}"
    return f"changes {total}, {factor_of(growth)} per {step}"


def factor_of(growth: Growth) -> str:
    """The factor per step with its interval, in words."""
    low, high = growth.interval
    return f"x{growth.rate:.3g} +- {(high - low) / 2:.2g}"


def step_of(diagnosis: "Diagnosis") -> str:
    """What growth is measured by: `"block"` or `"layer"`."""
    return "block" if diagnosis.blocks else "layer"


def total_of(diagnosis: "Diagnosis", growth: Growth) -> str:
    """The factor over all steps, in words."""
    count = len(diagnosis.curve("mean_square")) - 1
    return f"{growth.total:.3g} times over {count} {step_of(diagnosis)}s"
