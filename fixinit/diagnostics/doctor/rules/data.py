"""Rules of data: scales of inputs and targets, and labels."""

from collections.abc import Iterator

import keras
import numpy as np

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.evidence import Evidence, rms
from fixinit.diagnostics.doctor.heads import REGRESSIONS, SPARSE, Head
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


def input_scale(evidence: Evidence) -> Iterator[Finding]:
    """Inputs of another size than kernels are drawn for, with nothing that rescales."""
    for index, value in enumerate(evidence.graph.inputs):
        name = evidence.producers[value].name
        data = evidence.x[index]
        if not np.issubdtype(data.dtype, np.floating) or not _read_raw(evidence, value):
            continue
        columns = data.reshape(len(data), -1).astype("float64")
        if data.ndim > 2:
            columns = columns.reshape(-1, 1)
        sizes = np.array([rms(column) for column in columns.T])
        peak = float(np.abs(columns).max())
        large = sizes.max() > _LARGE_RMS or (
            peak > _LARGE_PEAK and sizes.max() > _PEAK_RMS
        )
        if not large and not 0 < peak < _SMALL_PEAK:
            continue
        what = "large" if large else "tiny"
        yield Finding(
            "input_scale",
            "error" if sizes.max() > 10 * _LARGE_RMS else "warning",
            name,
            peak,
            f"Inputs `{name}` are {what}: the largest magnitude is {peak:.3g}, the rms "
            f"{rms(columns):.3g} (of the largest column {sizes.max():.3g}), and "
            "nothing rescales them before the first weight layer. Kernels are drawn "
            "for 1.",
            _rescaled(evidence, data),
        )


def _read_raw(evidence: Evidence, value: int) -> bool:
    """Whether a weight layer reads an input as it is given."""
    for call in evidence.readers.get(value, []):
        operation, facts = call.operation, facts_of(call.operation)
        if isinstance(operation, (keras.layers.Embedding, keras.layers.Masking)):
            if isinstance(operation, keras.layers.Masking):
                return any(_read_raw(evidence, out) for out in call.outputs)
            continue
        if call.has_weights:
            return True
        same = facts.rearranges or facts.passes or facts.pads
        if same and any(_read_raw(evidence, out) for out in call.outputs):
            return True
    return False


def _rescaled(evidence: Evidence, data: np.ndarray) -> str:
    if len(evidence.x) > 1:
        return ""
    if data.ndim == 4 and data.min() >= 0 and 1 < data.max() <= 255:
        return "x = keras.ops.convert_to_numpy(keras.layers.Rescaling(1 / 255)(x))"
    return (
        "normalization = keras.layers.Normalization()\n"
        "normalization.adapt(x)\n"
        "x = keras.ops.convert_to_numpy(normalization(x))"
    )


def target_scale(evidence: Evidence) -> Iterator[Finding]:
    """Regression targets of another size than the outputs of a drawn network."""
    for head in evidence.heads:
        y = head.target
        if y is None or head.loss not in REGRESSIONS or head.activation != "linear":
            continue
        size, peak = rms(y), float(np.abs(y).max(initial=0))
        if size <= _LARGE_RMS and peak <= _LARGE_PEAK:
            continue
        yield Finding(
            "target_scale",
            "error" if size > 10 * _LARGE_RMS else "warning",
            head.name,
            size,
            f"Targets of `{head.name}` are large: the rms is {size:.3g}, the largest "
            f"magnitude {peak:.3g}, and outputs of a drawn network are of size 1. "
            "Gradients are as many times too large, or steps as many times too small.",
            "y = (y - y.mean(axis=0)) / y.std(axis=0)"
            if len(evidence.heads) == 1
            else "",
        )


def label_range(evidence: Evidence) -> Iterator[Finding]:
    """Labels beyond the units, of one class alone, or units that no label has."""
    for head in evidence.heads:
        labels = head.labels
        if labels is None or (head.units == 1 and head.loss not in SPARSE):
            continue
        if not (head.is_cross_entropy or head.loss == ""):
            continue
        yield from _beyond(evidence, head, labels)
        yield from _absent(head, labels)


def _beyond(evidence: Evidence, head: Head, labels: np.ndarray) -> Iterator[Finding]:
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < head.units:
        return
    count = len(np.unique(labels))
    if low > 0 and high - low < head.units:
        remedy = f"y = y - {low}"
    else:
        remedy = remedies.lines(
            remedies.new_head(evidence, head, max(count, high + 1), "softmax"),
            remedies.compiled(evidence, '"sparse_categorical_crossentropy"'),
        )
    yield Finding(
        "label_range",
        "error",
        head.name,
        float(high),
        f"Labels of `{head.name}` go from {low} to {high}, and its {head.units} units "
        f"are classes 0 to {head.units - 1}. The loss of the others is undefined.",
        remedy,
    )


def _absent(head: Head, labels: np.ndarray) -> Iterator[Finding]:
    present, count = np.unique(labels), len(labels)
    if head.units < 2 or present.min() < 0 or present.max() >= head.units:
        return
    if len(present) == 1 and head.units ** (1.0 - count) < _CHANCE:
        yield Finding(
            "label_range",
            "warning",
            head.name,
            1.0,
            f"All {count} labels of `{head.name}` are of class {present[0]}. A batch "
            "of one class teaches the network to ignore its inputs.",
            "order = np.random.default_rng(0).permutation(len(x))\n"
            "x, y = x[order], y[order]",
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


RULES = (input_scale, target_scale, label_range)
