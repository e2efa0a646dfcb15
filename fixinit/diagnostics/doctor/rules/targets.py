"""Rules of targets that are numbers: their scale, and whether samples differ."""

import math
from collections.abc import Iterator

import keras
import numpy as np

from fixinit.diagnostics.doctor.evidence import Evidence, differs, peak_of, rms
from fixinit.diagnostics.doctor.heads import REGRESSIONS, Head
from fixinit.diagnostics.doctor.rules.rates import kernel_steps
from fixinit.diagnostics.report.finding import Finding

# Outputs of a drawn network are of size 1, and gradients as large as targets.
_LARGE_RMS, _LARGE_PEAK = 10.0, 30.0
# Targets among which any two should differ.
_ENOUGH = 16
# Small networks that reach large targets in so many steps, at the speed of the
# optimizer's first ones, come in twice as many to an R^2 of 0.7 to 0.99; standardized
# targets give 0.96. Those whose kernels SGD moves by more than a tenth at first may
# shut their rectifiers.
_STEPS, _GENTLE = 1000, 0.1


def target_scale(evidence: Evidence) -> Iterator[Finding]:
    """Regression targets of another size than the outputs of a drawn network.

    They are worth a note where the optimizer gets there in 1,000 steps, at the speed of
    the trial steps; SGD, whose steps grow with the targets, by steps of a usual size.
    """
    for head in evidence.heads:
        y = head.target
        if y is None or head.loss not in REGRESSIONS or head.activation != "linear":
            continue
        if len(y) >= _ENOUGH and y.any() and not differs(y):
            yield _equal_targets(head, y)
            continue
        size, peak = rms(y), peak_of(y)
        if size <= _LARGE_RMS and peak <= _LARGE_PEAK:
            continue
        severity = "error" if size > 10 * _LARGE_RMS else "warning"
        yield Finding(
            "target_scale",
            "note" if _steps_to_targets(evidence, head) < _STEPS else severity,
            head.name,
            size,
            f"Targets of `{head.name}` are large: the rms is {size:.3g}, the largest "
            f"magnitude {peak:.3g}, and outputs of a drawn network are of size 1. "
            "Gradients are as many times too large, or steps as many times too small.",
            _standardized(evidence, head),
        )


def _steps_to_targets(evidence: Evidence, head: Head) -> float:
    """Steps to the targets at the speed of the trial, infinity where it says nothing.

    Of several heads, the loss is a sum. A falling loss may be that of a network that
    its first step has shut: of larger ones by SGD, too, nothing is said.
    """
    trial = evidence.trial
    if trial is None or len(evidence.heads) > 1:
        return math.inf
    follows = isinstance(evidence.stepping, keras.optimizers.SGD)
    if follows and max(kernel_steps(evidence).values(), default=0.0) > _GENTLE:
        return math.inf
    power = 0.5 if head.loss == "mean_squared_error" else 1.0
    if not 0 <= trial.after < trial.before < math.inf:
        return math.inf
    before, after = trial.before**power, trial.after**power
    return len(trial.losses) * before / (before - after)


def _equal_targets(head: Head, y: np.ndarray) -> Finding:
    """Targets that are all the same; zeros are those of a residual."""
    return Finding(
        "target_scale",
        "warning",
        head.name,
        peak_of(y),
        f"All {len(y)} targets of `{head.name}` are the same, {y.ravel()[0]:.3g}: a "
        "bias alone learns them. Look at how the data are read.",
    )


def _standardized(evidence: Evidence, head: Head) -> str:
    """Code that standardizes the targets of a head, constant columns aside."""
    given, y = evidence.program.y, head.target
    assert y is not None
    place = next(i for i, other in enumerate(evidence.heads) if other is head)
    name, before = "y", ""
    if isinstance(given, dict):
        names = evidence.program.subject.output_names
        key = names[place] if names[place] in given else ""
        if not key:
            return ""
        name, before = f'y["{key}"]', "y = dict(y)\n"
    elif isinstance(given, (list, tuple)):
        name, before = f"y[{place}]", "y = list(y)\n"
    scale = f"{name}.std(axis=0)"
    if not y.std(axis=0).all():
        scale = f"np.maximum({scale}, 1e-6)"
    return f"{before}{name} = ({name} - {name}.mean(axis=0)) / {scale}"


RULES = (target_scale,)
