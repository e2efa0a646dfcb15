"""Rules of learning rates, by trial steps on copies of the weights."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.trial import Trial
from fixinit.diagnostics.report.finding import Finding

# A step that moves a kernel by half of its norm forgets where it was drawn.
_LARGE_STEP = 0.5
# Loss after all steps over that before, and of the first batch after its own step: a
# step down a gradient that lets the loss rise is longer than the slope holds.
_GROWN, _OVERSHOT = 3.0, 1.6
# A kernel that moves by less in a step needs 20,000 to change. With a loss that falls
# by less than a ten-thousandth, a thousandth is small too.
_SMALL_STEP, _SLOW_STEP, _SLOW_FALL = 5e-5, 1e-3, 1e-4
# First steps of healthy trainings move kernels by a thousandth to a tenth.
_GOOD_STEP = 0.01
# Of what a constant gets wrong; a drawn network may explain a third by chance.
_SKILL = 0.5


def learning_rate(evidence: Evidence) -> Iterator[Finding]:
    """Steps of the optimizer that are too large or too small.

    Trial steps on copies of the weights decide: max |dW| / |W| over kernels in the
    first, and the losses before and after.
    """
    trial = evidence.trial
    if trial is None or not math.isfinite(evidence.measured.loss):
        return
    steps = kernel_steps(evidence)
    largest = max(steps.values(), default=0.0)
    fall = 1 - trial.again / trial.losses[0] if trial.losses[0] > 0 else 0.0
    grown = trial.after / trial.before if trial.before > 0 else 1.0
    diverges = not math.isfinite(trial.after) or not grown <= _GROWN
    # First steps of adaptive optimizers are of one size, whatever the slope.
    follows = isinstance(evidence.stepping, keras.optimizers.SGD)
    overshoots = follows and not fall > 1 - _OVERSHOT
    if diverges or overshoots or largest > _LARGE_STEP:
        yield _high(evidence, steps, diverges)
    elif not steps or _warms_up(evidence):
        return
    elif _stand_still(evidence, trial):
        yield _still(evidence)
    elif _is_low(largest, fall) and not (_has_learned(evidence) or _opens(evidence)):
        yield Finding(
            "learning_rate_low",
            "warning",
            "",
            largest,
            f"No kernel moves by more than {largest:.2g} times its norm in a step, and "
            f"the loss falls by {100 * max(fall, 0):.2g} %: training would take "
            "hundreds of thousands of steps.",
            _lower(evidence, largest),
        )


def _is_low(largest: float, fall: float) -> bool:
    slow = largest < _SLOW_STEP and abs(fall) < _SLOW_FALL
    return 0 < largest and (largest < _SMALL_STEP or slow)


def _high(evidence: Evidence, steps: Mapping[str, float], diverges: bool) -> Finding:
    trial = evidence.trial
    assert trial is not None
    where = max(steps, key=lambda path: steps[path], default="")
    largest = steps.get(where, 0.0)
    return Finding(
        "learning_rate_high",
        "error" if diverges else "warning",
        where,
        largest,
        f"The first step moves `{where}` by {largest:.3g} times its norm and the loss "
        f"of its own batch from {trial.losses[0]:.3g} to {trial.again:.3g}; in "
        f"{len(trial.losses)} steps the loss goes from {trial.before:.3g} to "
        f"{trial.after:.3g}.",
        _lower(evidence, largest),
    )


def _has_learned(evidence: Evidence) -> bool:
    """Whether a model does better than a constant: small steps are then no fault."""
    return any(head.skill > _SKILL for head in evidence.heads)


def _still(evidence: Evidence) -> Finding:
    """Steps that round to nothing: a rate of 0, or gradients clipped to 0."""
    optimizer = evidence.stepping
    assert optimizer is not None
    changed: dict[str, Any] = {
        key: None
        for key in ("clipnorm", "global_clipnorm", "clipvalue")
        if getattr(optimizer, key, None) is not None
    }
    why = f"clips them to {getattr(optimizer, next(iter(changed), ''), 0):.2g}"
    if float(optimizer.learning_rate) == 0:
        why, changed = "has a learning rate of 0", {"learning_rate": 1e-3}
    return Finding(
        "learning_rate_low",
        "error",
        "",
        0.0,
        "Gradients reach the kernels, and no step moves one: the optimizer "
        f"{why if changed else 'makes steps that round to 0'}.",
        compiled(evidence, changed=changed) if changed else "",
    )


def _stand_still(evidence: Evidence, trial: Trial) -> bool:
    """Whether kernels get gradients, and none of those that do moves."""
    reached = [
        variable
        for variable in evidence.model.trainable_variables
        if len(variable.shape) > 1 and evidence.gradients[id(variable)].any()
    ]
    return bool(reached) and not any(trial.moved[v.path] for v in reached)


def kernel_steps(evidence: Evidence) -> dict[str, float]:
    """Relative first step of every matrix that does not start at zero, or close."""
    trial = evidence.trial
    assert trial is not None
    shapes = {v.path: v.shape for v in evidence.model.trainable_variables}
    return {
        path: step
        for path, step in trial.update.items()
        if len(shapes[path]) > 1 and math.isfinite(step)
    }


def _opens(evidence: Evidence) -> bool:
    """Whether kernels that stand for zeros move first, which hold the others back."""
    assert evidence.trial is not None
    kernels = (v for v in evidence.model.trainable_variables if len(v.shape) > 1)
    return any(evidence.trial.update.get(v.path) == math.inf for v in kernels)


def _lower(evidence: Evidence, largest: float) -> str:
    """Code for a rate whose first step moves kernels by a hundredth."""
    return compiled(evidence, factor=_GOOD_STEP / largest) if largest else ""


def _warms_up(evidence: Evidence) -> bool:
    """Whether a schedule says what later steps are."""
    optimizer = evidence.stepping
    rate = None if optimizer is None else optimizer.get_config().get("learning_rate")
    return not isinstance(rate, (int, float))


RULES = (learning_rate,)
