"""Rules of learning rates, by trial steps on copies of the weights."""

import math
from collections.abc import Iterator
from typing import Any

from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.trial import Trial
from fixinit.diagnostics.report.finding import Finding

# A step that moves a kernel by half of its norm forgets where it was drawn.
_LARGE_STEP = 0.5
# Loss of the trial's batches after its steps, over that before.
_GROWN = 3.0
# Steps of a hundred-thousandth need as many to change anything.
_SMALL_STEP = 1e-6


def learning_rate(evidence: Evidence) -> Iterator[Finding]:
    """Steps of the optimizer that are too large or too small."""
    trial = evidence.trial
    if trial is None or not math.isfinite(evidence.measured.loss):
        return
    steps = _kernel_steps(evidence)
    before, last = trial.before, trial.after
    grown = last / before if before > 0 else 1.0
    diverges = not math.isfinite(grown) or grown > _GROWN
    largest = max(steps.values(), default=0.0)
    if diverges or largest > _LARGE_STEP:
        where = max(steps, key=lambda path: steps[path], default="")
        yield Finding(
            "learning_rate_high",
            "error" if diverges else "warning",
            where,
            largest,
            f"The first step moves `{where}` by {largest:.3g} times its norm, and the "
            f"loss is {last:.3g} after {len(trial.losses)} steps, where it was "
            f"{before:.3g}.",
            _lower(evidence, largest),
        )
    elif not steps or _warms_up(evidence):
        return
    elif _stand_still(evidence, trial):
        yield _still(evidence)
    elif 0 < largest < _SMALL_STEP:
        yield Finding(
            "learning_rate_low",
            "warning",
            "",
            largest,
            f"No kernel moves by more than {largest:.2g} times its norm in a step: a "
            f"million steps would change the network little.",
            _lower(evidence, largest),
        )


def _still(evidence: Evidence) -> Finding:
    """Steps that round to nothing: a rate of 0, or gradients clipped to 0."""
    optimizer = evidence.optimizer
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


def _kernel_steps(evidence: Evidence) -> dict[str, float]:
    """Relative first step of every matrix that does not start at zero."""
    trial = evidence.trial
    assert trial is not None
    shapes = {v.path: v.shape for v in evidence.model.trainable_variables}
    return {
        path: step
        for path, step in trial.update.items()
        if len(shapes[path]) > 1 and math.isfinite(step)
    }


def _lower(evidence: Evidence, largest: float) -> str:
    """Code for a rate whose first step moves kernels by a hundredth."""
    return compiled(evidence, factor=0.01 / largest) if largest else ""


def _warms_up(evidence: Evidence) -> bool:
    """Whether a schedule says what later steps are."""
    optimizer = evidence.optimizer
    rate = None if optimizer is None else optimizer.get_config().get("learning_rate")
    return not isinstance(rate, (int, float))


RULES = (learning_rate,)
