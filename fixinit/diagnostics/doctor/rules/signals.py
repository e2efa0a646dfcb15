"""Rules of signals: what grows, vanishes, or stops on the way and on the way back."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fixinit import schemes
from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.rules.heads import last_activation, logits_mismatch
from fixinit.diagnostics.doctor.rules.initialization import redrawn
from fixinit.diagnostics.doctor.rules.structure import hidden_activation
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.growth import Growth
from fixinit.diagnostics.report.healthy import factor_of, step_of
from fixinit.layers import facts_of

# Factors of mean squares over the whole depth. Ten times larger activations ask for
# another rate; VGG19, drawn as Keras does, gives a thousandth at its 16th layer.
_GROWN, _SHRUNK, _MUCH = 1e2, 1e7, 1e2
# Of relative gradients: networks as published differ by 30 in magnitude.
_BACKWARD, _BACKWARD_ERROR = 1e4, 1e8
# By what their squares grow in each layer of batch normalization and ReLU (Yang et al.
# 2019, "A mean field theory of batch normalization"). As published, InceptionV3 of 47
# layers is at 4e5, and ResNet152 at 1e6.
_NORMALIZED = math.pi / (math.pi - 1)
# What is left of the differences between inputs, next to those at the input.
_ALIKE = 1e-3
_THAWED = "for layer in model.layers:\n    layer.trainable = True"


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """Weights, activations, gradients or losses that are not finite."""
    diagnosis = evidence.diagnosis
    if diagnosis.bad_weights:
        names = ", ".join(diagnosis.bad_weights[:3])
        yield Finding(
            "not_finite",
            "error",
            diagnosis.bad_weights[0],
            float(len(diagnosis.bad_weights)),
            f"{len(diagnosis.bad_weights)} weights hold NaN or infinity, first "
            f"{names}: the training has diverged before this. Load weights from before "
            "that, and lower the learning rate.",
            _finite(evidence),
        )
        return
    for row in diagnosis.layers:
        if not math.isfinite(row.mean_square):
            cause = f"Activations are not finite from layer {row.name} on."
            yield _repaired(evidence, "not_finite", "exploding", row.name, cause)
            return
    if not math.isfinite(evidence.measured.loss):
        wrong = (*last_activation(evidence), *logits_mismatch(evidence))
        if any(finding.severity == "error" for finding in wrong):
            # Which says why.
            return
        yield Finding(
            "not_finite",
            "error",
            "loss",
            evidence.measured.loss,
            "Outputs are finite, and the loss is not: it takes the logarithm or the "
            "root of something that is 0 or negative, or a division by 0.",
        )
        return
    for row in reversed(diagnosis.layers):
        if not math.isfinite(row.gradient_mean_square):
            cause = (
                f"Activations are finite, gradients are not, from layer {row.name} "
                "back to the input."
            )
            yield _repaired(
                evidence, "not_finite", "exploding_gradients", row.name, cause
            )
            return


def _finite(evidence: Evidence) -> str:
    """Code that draws weights that are not finite anew, and lowers the rate."""
    code = (
        "for seed, weight in enumerate(model.weights):\n"
        "    if np.isfinite(keras.ops.convert_to_numpy(weight)).all():\n"
        "        continue\n"
        "    draw = keras.initializers.HeNormal(seed)\n"
        "    if len(weight.shape) < 2:\n"
        '        ones = weight.name in ("gamma", "scale", "moving_variance")\n'
        '        draw = keras.initializers.get("ones" if ones else "zeros")\n'
        "    weight.assign(draw(weight.shape))"
    )
    return compiled(evidence, code, factor=0.1 if evidence.model.compiled else None)


def _repaired(
    evidence: Evidence,
    kind: str,
    finding: str,
    where: str,
    cause: str,
    severity: str = "error",
    value: float = math.inf,
) -> Finding:
    """A finding that a scheme repairs, or other draws."""
    remedy, published = "", list[str]()
    if evidence.diagnosis.blocks:
        published = schemes.remedies(finding)
        if published:
            remedy = remedies.converted(evidence, published[0])
    else:
        # No draw keeps signals where activations flatten them.
        activations = [found.remedy for found in hidden_activation(evidence)]
        remedy = next(filter(None, activations), "")
        remedy = remedy or _drawn_anew(evidence, biases=kind == "inputs_alike")
    return Finding(
        kind,
        severity,
        where,
        value,
        cause,
        remedy,
        tuple(published),
    )


def _drawn_anew(evidence: Evidence, biases: bool) -> str:
    """Code that draws all kernels as fits their activations."""
    calls = [
        call
        for call in evidence.weights
        if getattr(call.operation, "kernel", None) is not None
    ]
    return redrawn(evidence, calls, biases)


def exploding(evidence: Evidence) -> Iterator[Finding]:
    """Activations, or gradients on the way back, that grow with depth."""
    yield from _forward(evidence, explodes=True)
    yield from _backward(evidence, explodes=True)


def vanishing(evidence: Evidence) -> Iterator[Finding]:
    """Activations, or gradients on the way back, that vanish with depth."""
    yield from _forward(evidence, explodes=False)
    yield from _backward(evidence, explodes=False)


def _forward(evidence: Evidence, explodes: bool) -> Iterator[Finding]:
    diagnosis, growth = evidence.diagnosis, evidence.diagnosis.growth
    # Embeddings and images may be of any size: what the first block gives is where
    # depth begins.
    values = np.array([row.mean_square for row in evidence.unnormalized_steps])
    if not np.isfinite(values).all():
        return
    values = values[values > 0]  # Behind numbers that vanish there are zeros.
    if len(values) < 3:
        return
    total = float(values[-1] / values[0])
    size, bound = (total, _GROWN) if explodes else (1 / total, _SHRUNK)
    if not size > bound or _is_sum(growth):
        return
    kind = "exploding" if explodes else "vanishing"
    step, verb = step_of(diagnosis), "grows" if explodes else "shrinks"
    rate = "" if math.isnan(growth.rate) else f", {factor_of(growth)} per {step}"
    cause = (
        f"The mean square {verb} {total:.3g} times over {len(values) - 1} {step}s"
        f"{rate}.{_leaves(growth, explodes, step)}"
    )
    yield _repaired(
        evidence,
        kind,
        kind,
        (diagnosis.blocks or diagnosis.weight_path)[0].name,
        cause,
        value=total,
        severity="error" if size > _MUCH * bound else "warning",
    )


def _is_sum(growth: Growth) -> bool:
    """Whether signals grow as sums of normalized branches do, at any depth.

    With their number, or with its square where branches add up in one direction.
    """
    steep = growth.kind == "polynomial" and growth.slope > 2
    return growth.kind in ("linear", "polynomial") and not steep


def _leaves(growth: Growth, explodes: bool, step: str) -> str:
    """Where numbers leave a format, if that is at once."""
    verb = "overflows" if explodes else "vanishes"
    parts = [
        f"{name} {verb} at {step} {steps['activation']} (squares: "
        f"{steps['mean_square']})"
        for name, steps in growth.leaves.items()
        if name != "bfloat16"  # Which has the range of float32.
    ]
    return f" At this rate {', '.join(reversed(parts))}." if parts else ""


def _backward(evidence: Evidence, explodes: bool) -> Iterator[Finding]:
    diagnosis = evidence.diagnosis
    norms = _gradient_squares(evidence)
    held = [v for v in norms if math.isfinite(v)]
    if len(held) < 3 or not held[-1] > 0 or len(held) < len(norms):
        return
    ratio = held[0] / held[-1]
    size = ratio if explodes else 1 / ratio if ratio else math.inf
    if not size > (_growth_allowed(evidence) if explodes else _BACKWARD):
        return
    if ratio == 0 and not _deep_zero(evidence):
        return
    kind = "exploding" if explodes else "vanishing"
    step, verb = step_of(diagnosis), "grow" if explodes else "vanish"
    cause = (
        f"Relative gradients {verb} on the way back: from the last {step} to the first "
        f"their square is {ratio:.3g} times what it was."
    )
    yield _repaired(
        evidence,
        kind,
        f"{kind}_gradients",
        (diagnosis.blocks or diagnosis.weight_path)[-1].name,
        cause,
        value=ratio,
        severity="error" if size > _BACKWARD_ERROR else "warning",
    )


def _growth_allowed(evidence: Evidence) -> float:
    """Growth of squared relative gradients that is no fault."""
    diagnosis = evidence.diagnosis
    normalized = sum(
        facts_of(call.operation).has_statistics for call in evidence.graph.calls
    )
    count = min(normalized, len(diagnosis.blocks or diagnosis.weight_path))
    allowed = math.exp(min(count * math.log(_NORMALIZED), math.log(_BACKWARD_ERROR)))
    return max(_BACKWARD, allowed)


def _deep_zero(evidence: Evidence) -> bool:
    """Whether zero gradients are no zeros that the first steps open."""
    trial = evidence.trial
    return trial is not None and len(trial.reached) < len(trial.moved)


def _gradient_squares(evidence: Evidence) -> Sequence[float]:
    """Squared norm of the relative gradient by block, or along the weight layers.

    That by the logarithm of an activation, h dh: whatever size normalized layers have,
    it is the same.
    """
    diagnosis = evidence.diagnosis
    rows: Sequence[Any] = diagnosis.blocks or diagnosis.weight_path
    sizes, size = [], 1.0
    for row in rows:
        call = evidence.calls.get(row.name)
        if call is not None:  # In stacks, all blocks are of one shape.
            shape = evidence.graph.specs[call.outputs[0]].shape
            size = float(np.prod([n or 1 for n in shape[1:]]))
        sizes.append(size)
    return [
        row.gradient_mean_square * row.mean_square * n
        for row, n in zip(rows, sizes, strict=True)
    ]


def inputs_alike(evidence: Evidence) -> Iterator[Finding]:
    """Representations in front of a head in which inputs are nearly equal."""
    if evidence.diagnosis.batch_size < 2:
        return
    first = _own_difference(evidence)
    for head in evidence.heads:
        if head.weight is None or first is None:
            continue
        row = evidence.row_of(head.weight.inputs[0])
        if row is None or math.isnan(row.correlation) or row.mean_square == 0:
            continue
        left = (1 - row.correlation) / first
        if not left < _ALIKE:
            continue
        yield _repaired(
            evidence,
            "inputs_alike",
            "collapsed",
            row.name,
            f"What `{row.name}` hands to the head is nearly the same for all inputs: "
            f"the mean cosine between two of them is {row.correlation:.6f}, and "
            f"{1 - first:.3f} at the input.",
            value=row.correlation,
            severity="warning",
        )


def _own_difference(evidence: Evidence) -> float | None:
    """One minus the mean cosine between two inputs."""
    for value in evidence.graph.inputs:
        row = evidence.row_of(value)
        if row is not None and row.correlation < 1 - 1e-6:
            return 1 - row.correlation
    return None


def no_gradient(evidence: Evidence) -> Iterator[Finding]:
    """Variables that training does not reach."""
    model, trial = evidence.model, evidence.trial
    if not model.trainable_variables:
        yield Finding(
            "no_gradient",
            "error",
            model.name,
            0.0,
            f"None of the {len(model.weights)} weights of `{model.name}` is trainable.",
            # Layers that were frozen one by one are not reached from the model.
            compiled(evidence, f"model.trainable = True\n{_THAWED}")
            if model.weights
            else "",
        )
        return
    if trial is None or evidence.diagnosis.closed:
        return
    # What gets one and does not move has steps that are too small: `learning_rate`.
    still = [path for path in trial.moved if path not in trial.reached]
    if not still or not math.isfinite(trial.losses[-1]):
        return
    everything = len(still) == len(trial.moved)
    # A bias may cancel, as where two passes through one layer are compared.
    ranks = {v.path: len(v.shape) for v in model.trainable_variables}
    severity = "warning" if any(ranks[path] > 1 for path in still) else "note"
    yield Finding(
        "no_gradient",
        "error" if everything else severity,
        still[0],
        float(len(still)),
        f"{len(still)} of {len(trial.moved)} trainable variables get no gradient in "
        f"{len(trial.losses)} steps, first {still[0]}.",
    )


RULES = (not_finite, exploding, vanishing, inputs_alike, no_gradient)
