"""Rules of data: scales of inputs and targets, and labels."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence, peak_of, rms
from fixinit.diagnostics.doctor.heads import BINARY, REGRESSIONS, SPARSE, Head
from fixinit.diagnostics.doctor.rules.rates import kernel_steps
from fixinit.diagnostics.report.finding import Finding
from fixinit.layers import facts_of

# Kernels are drawn for inputs of rms 1. Ten times that, outputs start ten times too
# large and gradients of the first kernel are; a peak of 30 is that of the heaviest
# tails of standardized columns.
_LARGE_RMS, _LARGE_PEAK, _SMALL_PEAK = 10.0, 30.0, 0.01
# A peak counts where the column is not standardized either.
_PEAK_RMS = 3.0
# An absent class is by chance with at most this probability.
_CHANCE = 1e-3
# Of two classes, one is often rare: with 459 samples, one of 1 % is missing by chance
# in one case of a hundred.
_RARE = 459
# Targets among which any two should differ.
_ENOUGH = 16
# Small networks that reach large targets in so many steps, at the speed of Adam's
# first ones, come in twice as many to an R^2 of 0.9; standardized targets give 0.96.
# Those whose kernels SGD moves by more than a tenth at first may shut their rectifiers.
_STEPS, _GENTLE = 1000, 0.1


def input_scale(evidence: Evidence) -> Iterator[Finding]:
    """Inputs of another size than kernels are drawn for, where weights read them.

    What the first weight layers read decides: max |x| and the rms, of the largest
    column where x is a table.
    """
    for index, value in enumerate(evidence.graph.inputs):
        data = evidence.x[index]
        if not np.issubdtype(data.dtype, np.floating):
            continue
        for read in sorted(set(_read(evidence, value))):
            found = _size(evidence, data if read == value else None, read)
            if found is not None and (cause := _unfit(*found)):
                remedy = rescaled(evidence, data)
                if read != value and cause == "tiny" and evidence.program.is_array:
                    # Layers of the model make it so, whatever scale `x` has.
                    remedy = f"x = {1 / found[1]:.2g} * x"
                yield _scaled(evidence, value, found, cause, remedy)
                break


def equal_inputs(evidence: Evidence) -> Iterator[Finding]:
    """Inputs that are the same for all samples, though the targets differ."""
    y = [head.target for head in evidence.heads if head.target is not None]
    differ = any(map(_differs, y))
    inputs = [array for array in evidence.x if array.size]
    if not differ or not inputs or any(map(_differs, inputs)):
        return
    peak = max(map(peak_of, inputs))
    yield Finding(
        "input_scale",
        "error",
        evidence.producers[evidence.graph.inputs[0]].name,
        peak,
        f"All {len(inputs[0])} samples of the inputs are the same"
        f"{', zeros' if peak == 0 else ''}, and the targets differ. Look at how the "
        "data are read.",
    )


def _differs(array: np.ndarray) -> bool:
    """Whether the samples of an array are not all the same."""
    return bool((array != array[:1]).any())


def _read(evidence: Evidence, value: int) -> Iterator[int]:
    """Values that weight layers read of an input, with nothing that normalizes between.

    What only rearranges an input counts as the input itself.
    """
    pending, seen = [(value, value)], set[tuple[int, int]]()
    while pending:
        current, name = pending.pop()
        if (current, name) in seen:
            continue
        seen.add((current, name))
        for call in evidence.readers.get(current, []):
            operation, facts = call.operation, facts_of(call.operation)
            if isinstance(operation, keras.layers.Embedding):
                continue
            if call.has_weights:
                yield name
                continue
            as_made = _is_not_adapted(operation)
            is_scaled = isinstance(operation, keras.layers.Normalization)
            if (facts.normalizes or is_scaled) and not as_made:
                continue
            same = facts.rearranges or facts.passes or facts.pads
            same = same or as_made or isinstance(operation, keras.layers.Masking)
            pending += [(out, name if same else out) for out in call.outputs]


def _is_not_adapted(layer: Any) -> bool:
    """Whether a layer that is not adapted has a mean of 0 and a variance of 1."""
    if not isinstance(layer, keras.layers.Normalization) or not layer.weights:
        return False
    mean, variance = (
        ops.convert_to_numpy(v) for v in (layer.adapt_mean, layer.adapt_variance)
    )
    return not mean.any() and bool((variance == 1).all())


def _size(
    evidence: Evidence, data: np.ndarray | None, value: int
) -> tuple[float, float] | None:
    """`(peak, rms)` of what weights read: of the data, or as it was measured."""
    if data is None:
        row = evidence.row_of(value)
        return None if row is None else (row.peak, row.mean_square**0.5)
    columns = data.reshape(len(data), -1) if data.ndim < 3 else data.reshape(-1, 1)
    sizes = [rms(column) for column in columns.T]
    return peak_of(data), max(sizes, default=0.0)


def _unfit(peak: float, size: float) -> str:
    if size > _LARGE_RMS or (peak > _LARGE_PEAK and size > _PEAK_RMS):
        return "large"
    return "tiny" if 0 < peak < _SMALL_PEAK else ""


def _scaled(
    evidence: Evidence,
    value: int,
    found: tuple[float, float],
    how: str,
    remedy: str,
) -> Finding:
    name, (peak, size) = evidence.producers[value].name, found
    return Finding(
        "input_scale",
        "error" if size > 10 * _LARGE_RMS or peak < 0.1 * _SMALL_PEAK else "warning",
        name,
        peak,
        f"What the first weight layer reads of input `{name}` is {how}: the largest "
        f"magnitude is {peak:.3g}, the rms {size:.3g}. Kernels are drawn for 1.",
        remedy,
    )


def rescaled(evidence: Evidence, data: np.ndarray) -> str:
    """Code that brings the input of a model to size 1, `""` if `x` is no array."""
    if not evidence.program.is_array:
        return ""
    if data.ndim == 4 and data.min() >= 0 and 1.5 < data.max() <= 255:
        return "x = keras.ops.convert_to_numpy(keras.layers.Rescaling(1 / 255)(x))"
    return (
        "normalization = keras.layers.Normalization()\n"
        "normalization.adapt(x)\n"
        "x = keras.ops.convert_to_numpy(normalization(x))"
    )


def target_scale(evidence: Evidence) -> Iterator[Finding]:
    """Regression targets of another size than the outputs of a drawn network.

    They are worth a note where the optimizer gets there in 1,000 steps, at the speed of
    the trial steps; SGD, whose steps grow with the targets, by steps of a usual size.
    """
    for head in evidence.heads:
        y = head.target
        if y is None or head.loss not in REGRESSIONS or head.activation != "linear":
            continue
        if len(y) >= _ENOUGH and y.any() and not _differs(y):
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
        float(np.abs(y).max()),
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


def label_range(evidence: Evidence) -> Iterator[Finding]:
    """Labels beyond the units, of one class alone, or units that no label has."""
    for head in evidence.heads:
        labels = _counted(head)
        if head.units == 1 and head.is_binary and head.loss in BINARY:
            yield from _one_of_two(head)
        if labels is None or (head.units == 1 and head.loss not in SPARSE):
            continue
        # Of a loss of somebody's own, integers may be no classes, or not of its units.
        if not head.is_cross_entropy:
            continue
        yield from _beyond(evidence, head, labels)
        yield from _absent(evidence, head, labels)


def _counted(head: Head) -> np.ndarray | None:
    """The labels without those that the loss leaves out (`ignore_class`)."""
    labels = head.labels
    if labels is None or head.ignored is None:
        return labels
    kept = labels[labels != head.ignored]
    return kept if kept.size else None


def _beyond(evidence: Evidence, head: Head, labels: np.ndarray) -> Iterator[Finding]:
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < head.units:
        return
    yield Finding(
        "label_range",
        "error",
        head.name,
        float(high),
        f"Labels of `{head.name}` go from {low} to {high}, and its {head.units} units "
        f"are classes 0 to {head.units - 1}. The loss of the others is undefined.",
        _relabelled(evidence, head, labels),
    )


def _relabelled(evidence: Evidence, head: Head, labels: np.ndarray) -> str:
    """Code that counts classes from 0, or makes a head with a unit for each."""
    low, high = int(labels.min()), int(labels.max())
    if len(evidence.heads) > 1:
        return ""
    if high - low < head.units:
        return f"y = y {'-' if low > 0 else '+'} {abs(low)}"
    count = len(np.unique(labels))
    renamed = "y = np.searchsorted(np.unique(y), y)" if low < 0 else None
    if renamed and count <= head.units:
        return renamed
    units = count if renamed else high + 1
    new = remedies.new_head(evidence, head, units, "softmax")
    return compiled(
        evidence, remedies.lines(new, renamed), '"sparse_categorical_crossentropy"'
    )


def _absent(evidence: Evidence, head: Head, labels: np.ndarray) -> Iterator[Finding]:
    present, count = np.unique(labels), len(labels)
    if head.units < 2 or present.min() < 0 or present.max() >= head.units:
        return
    if head.units == 2 and len(present) == 1:
        yield from _one_of_two(head)
        return
    assert head.target is not None
    if len(present) == 1 and head.units ** (1.0 - len(head.target)) < _CHANCE:
        yield Finding(
            "label_range",
            "warning",
            head.name,
            1.0,
            f"All {count} labels of `{head.name}` are of class {present[0]}. A batch "
            "of one class teaches the network to ignore its inputs.",
            "order = np.random.default_rng(0).permutation(len(x))\n"
            "x, y = x[order], y[order]"
            if evidence.program.is_array and len(evidence.heads) == 1
            else "",
        )
        return
    missing = sorted(set(range(head.units)) - set(present.tolist()))
    chance = head.units * (1 - 1 / head.units) ** count
    if missing and chance < _CHANCE:
        yield Finding(
            "label_range",
            "note",
            head.name,
            float(len(missing)),
            f"{len(missing)} of {head.units} units of `{head.name}` have no label "
            f"among {count}, first {missing[0]}.",
        )


def _one_of_two(head: Head) -> Iterator[Finding]:
    """Of two classes, the only one that there is."""
    y = head.target
    assert y is not None
    found = y if head.labels is None else head.labels
    if _differs(y) or len(y) < _RARE:
        return
    yield Finding(
        "label_range",
        "warning",
        head.name,
        1.0,
        f"All {len(y)} labels of `{head.name}` are the same, {found.ravel()[0]:g}: "
        "there is nothing to tell apart. Look at how labels are read and converted.",
    )


RULES = (input_scale, equal_inputs, target_scale, label_range)
