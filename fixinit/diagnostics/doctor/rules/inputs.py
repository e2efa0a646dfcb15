"""Rules of inputs: their scale, and whether samples differ."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from fixinit.diagnostics.doctor.evidence import (
    Evidence,
    are_as_made,
    differs,
    peak_of,
    rms,
)
from fixinit.diagnostics.report.finding import Finding
from fixinit.layers import facts_of

# Kernels are drawn for inputs of rms 1. Ten times that, outputs start ten times too
# large and gradients of the first kernel are; a peak of 30 is that of the heaviest
# tails of standardized columns.
_LARGE_RMS, _LARGE_PEAK, _SMALL_PEAK = 10.0, 30.0, 0.01
# A peak counts where the column is not standardized either.
_PEAK_RMS = 3.0


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
    differ = any(map(differs, y))
    inputs = [array for array in evidence.x if array.size]
    if not differ or not inputs or any(map(differs, inputs)):
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
            if (facts.has_statistics or is_scaled) and not as_made:
                continue
            same = facts.rearranges or facts.passes or facts.pads
            same = same or as_made or isinstance(operation, keras.layers.Masking)
            pending += [(out, name if same else out) for out in call.outputs]


def _is_not_adapted(layer: Any) -> bool:
    """Whether a layer that is not adapted has a mean of 0 and a variance of 1."""
    if not isinstance(layer, keras.layers.Normalization) or not layer.weights:
        return False
    return are_as_made(layer.adapt_mean, layer.adapt_variance)


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


RULES = (input_scale, equal_inputs)
