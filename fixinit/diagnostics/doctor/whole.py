"""Measures of a whole training program that are taken where they are asked for."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from fixinit.diagnostics.doctor.program import Program
from fixinit.diagnostics.geometry.curvature import curvature_of
from fixinit.diagnostics.geometry.noise_scale import noise_of
from fixinit.diagnostics.geometry.weight_function import WeightFunction

WHOLE = ("noise_scale", "curvature")
# How many micro-batches the noise of the gradient is estimated from, at most.
_MICRO_BATCHES = 16


def check_whole(measures: Sequence[str], program: Program) -> None:
    """Refuses measures of the loss where there is none, or of a single sample."""
    asked = [name for name in measures if name in WHOLE]
    if asked and program.y is None:
        raise ValueError(
            f"Argument `measures` asks for {', '.join(asked)}, of the loss. Received: "
            "y=None. Give targets."
        )
    if "noise_scale" in asked and len(program) < 2:
        raise ValueError(
            "Argument `measures` asks for noise_scale, which takes two samples or "
            f"more. Received: {len(program)}"
        )


def whole(
    measures: Sequence[str],
    program: Program,
    optimizer: keras.optimizers.Optimizer | None,
    is_finite: bool,
) -> dict[str, float]:
    """What `measures` ask for of a training program.

    Args:
        measures: Tuple of strings, as `diagnose` takes them.
        program: `Program` with targets, if there is something to measure.
        optimizer: Keras optimizer that trains the model, or `None`.
        is_finite: bool. Whether loss and weights are; otherwise all is NaN.
    """
    asked = [name for name in measures if name in WHOLE]
    if not asked:
        return {}
    names = {"noise_scale": ["noise_scale"], "curvature": ["largest_eigenvalue"]}
    rate = _rate(optimizer)
    if rate is not None:
        names["curvature"].append("overshoot")
    if not is_finite:
        return {name: math.nan for measure in asked for name in names[measure]}
    function = WeightFunction(
        program.subject.model,
        program.subject.packed(program.x),
        program.y,
        program.loss,
        program.training,
        program.given,
    )
    found: dict[str, float] = {}
    for measure in asked:
        if measure == "noise_scale":
            size = max(1, len(program) // _MICRO_BATCHES)
            found["noise_scale"] = noise_of(function, size).scale
        else:
            curvature = curvature_of(function)
            found["largest_eigenvalue"] = curvature.largest
            if rate is not None:
                found["overshoot"] = curvature.overshoot(rate)
    return found


def _rate(optimizer: keras.optimizers.Optimizer | None) -> float | None:
    rate = getattr(optimizer, "learning_rate", None)
    return None if rate is None else float(ops.convert_to_numpy(rate))
