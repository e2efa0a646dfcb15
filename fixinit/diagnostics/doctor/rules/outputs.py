"""Rules of what a model gives and hides: constant outputs, layers that stay shut."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from fixinit import _keras
from fixinit.diagnostics.doctor.evidence import Evidence, kernel_of
from fixinit.diagnostics.doctor.heads import Head
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.measure import Measure

# Differences between outputs that are rounding, relative to the largest of them.
_ROUNDING = 1e-7
# Vectors that start at zero by habit.
_BIASES = ("bias", "beta")


def constant_output(evidence: Evidence) -> Iterator[Finding]:
    """Outputs that are the same for samples that differ.

    max - min over the samples, of every number of an output, is at most 1e-7 of the
    largest magnitude, in training and in test mode. No claim is made of what training
    changes at once: a head of zeros, or branches behind a zero that gets a gradient.
    """
    x = evidence.program.first(evidence.diagnosis.batch_size).x
    differ = any(np.ptp(array, axis=0).any() for array in x)
    if not differ or _opens(evidence):
        return
    constant = [
        (index, head)
        for index, head in enumerate(evidence.heads)
        if head.prediction is not None
        and _is_constant(head.prediction)
        and not _is_explained(head)
    ]
    if not constant:
        return
    outputs = Measure(evidence.program.subject, training=False)(x).outputs
    for index, head in constant:
        given = ops.convert_to_numpy(ops.cast(outputs[index], "float32"))
        if not _is_constant(given):
            continue
        yield Finding(
            "constant_output",
            "error",
            head.name,
            float(np.ptp(given, axis=0).max()),
            f"Output `{head.name}` is the same for all {len(given)} samples, "
            f"{given[0].ravel()[0]:.3g} at first, though they differ, and no zero that "
            "training opens is the reason: on the way, something is dead or saturated.",
        )


def _is_constant(given: np.ndarray) -> bool:
    if not len(given) or not np.isfinite(given).all():
        return False
    return bool(np.ptp(given, axis=0).max() <= _ROUNDING * np.abs(given).max())


def _is_explained(head: Head) -> bool:
    """Whether a head is of zeros, or a softmax over one unit."""
    if head.activation == "softmax" and head.units == 1:
        return True
    kernel = None if head.weight is None else kernel_of(head.weight)
    return kernel is not None and not kernel.any()


def _opens(evidence: Evidence) -> bool:
    """Whether a gate or a kernel that starts at zero gets a gradient."""
    return any(
        variable.name not in _BIASES
        and evidence.gradients[id(variable)].any()
        and not ops.convert_to_numpy(ops.any(ops.not_equal(variable, 0)))
        for variable in evidence.model.trainable_variables
    )


def cannot_look_inside(evidence: Evidence) -> Iterator[Finding]:
    """Layers whose `call` shows no graph, so that the rules see them as one step.

    The share of the model's weights that they hold is the value. It is worth a note,
    and a warning where they hold all: then no rule has seen anything.
    """
    subject, model = evidence.program.subject, evidence.model
    shut = subject.shut
    if shut:
        inside = [layer for layer in _keras.flatten_layers(model) if layer.name in shut]
        held = {id(v): _count(v) for layer in inside for v in layer.weights}
        share = sum(held.values()) / max(1, model.count_params())
        first, reason = next(iter(shut.items()))
        yield Finding(
            "cannot_look_inside",
            "warning" if share == 1 else "note",
            first,
            share,
            f"{len(shut)} layers, first {first}, hold {100 * share:.3g} % of the "
            f"weights and show no graph: {reason} Nothing is said about what is "
            "inside.",
        )
    if subject.lost:
        yield Finding(
            "cannot_look_inside",
            "note",
            model.name,
            float(len(subject.lost)),
            f"Model `{model.name}` is measured by its graph. {' '.join(subject.lost)}",
        )


def _count(variable: keras.Variable) -> int:
    return int(np.prod(variable.shape))


RULES = (cannot_look_inside, constant_output)
