"""Rules of initial weights: zeros, constants, equal draws, sizes, embeddings."""

import math
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from fixinit.diagnostics._shared.activations import unwrapped
from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.evidence import Evidence, kernel_of, rms
from fixinit.diagnostics.report.finding import Finding
from fixinit.graph import Call
from fixinit.graph.kinds import output_facts

# Root of the sum of squares over what a unit reads: 1 keeps signals, sqrt(2) behind
# rectifiers. Ten times more or less is a mistake where nothing normalizes.
_LARGE, _SMALL = 10.0, 0.1
# What large kernels together multiply by, from which on a softmax is sure of what is
# wrong.
_RUINOUS = 100.0
_EMBEDDING = (5e-3, 10.0)


def initialization(evidence: Evidence) -> Iterator[Finding]:
    """Kernels that cannot be told apart, or of sizes that do not keep signals."""
    yield from _equal_units(evidence)
    yield from _equal_draws(evidence)
    yield from _sizes(evidence)


def _hidden(evidence: Evidence) -> list[Call]:
    """Weight layers with a trained kernel of their own that are no heads."""
    heads = {head.weight for head in evidence.heads}
    return [
        call
        for call in evidence.weights
        if call not in heads
        and getattr(call.operation, "kernel", None) is not None
        and call.body is None
        and not isinstance(call.operation, keras.layers.Embedding)
    ]


def _equal_units(evidence: Evidence) -> Iterator[Finding]:
    """Layers whose units all read the same, and so learn the same."""
    trial = evidence.trial
    found = []
    for call in _hidden(evidence):
        kernel = kernel_of(call)
        if kernel is None or kernel.ndim < 2 or kernel.shape[-1] < 2:
            continue
        if np.ptp(kernel, axis=-1).any():
            continue
        variable = call.operation.kernel
        if not variable.trainable or _in_branch(evidence, call):
            continue
        zero = not kernel.any()
        if zero and trial is not None and trial.moved.get(variable.path, False):
            # A zero that opens, as that of a spatial transformer.
            continue
        found.append((call, zero))
    if not found:
        return
    call, zero = found[0]
    how = "zero" if zero else "equal in all units"
    yield Finding(
        "initialization",
        "error",
        call.name,
        float(len(found)),
        f"The kernels of {len(found)} layers, first {call.name}, start {how}: their "
        "units start as one, and their gradients differ by a factor at most.",
        redrawn(evidence, [call for call, _ in found]),
    )


def _in_branch(evidence: Evidence, call: Call) -> bool:
    """Whether a layer may start a branch at zero: it is the last of it."""
    return any(row.weights[-1:] == (call.name,) for row in evidence.diagnosis.blocks)


def redrawn(evidence: Evidence, calls: list[Call], biases: bool = False) -> str:
    """Code that draws the kernels of calls anew, as fits their activations."""
    names: dict[str, list[str]] = {}
    for call in calls:
        if evidence.is_layer(call):
            names.setdefault(_fitting(evidence, call), []).append(call.operation.name)
    return "\n".join(
        remedies.redrawn(group, kind, biases) for kind, group in names.items()
    )


def _fitting(evidence: Evidence, call: Call) -> str:
    """Name of the initializer for the activation behind a weight layer."""
    operation = call.operation
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if name == "selu":
        return "LecunNormal"
    readers = evidence.readers.get(call.outputs[0], [])
    rectified = output_facts(operation).flat or any(
        output_facts(reader.operation).flat for reader in readers
    )
    return "HeNormal" if rectified else "GlorotUniform"


def _equal_draws(evidence: Evidence) -> Iterator[Finding]:
    groups = evidence.diagnosis.equal_draws
    if not groups:
        return
    shown, others = groups[0][:3], max(0, len(groups[0]) - 3)
    more = f" and {others} more" if others else ""
    # All of a group: the seeds of new draws may be that of the first.
    names = {name for group in groups for name in group}
    calls = [call for call in evidence.weights if call.name in names]
    yield Finding(
        "initialization",
        "warning",
        groups[0][0],
        float(sum(map(len, groups))),
        f"{sum(map(len, groups))} layers hold the kernel of another one, number by "
        f"number: {', '.join(shown)}{more}. One initializer instance, or one integer "
        "seed, draws the same for all that it is given to: give each its own.",
        redrawn(evidence, calls),
    )


def _sizes(evidence: Evidence) -> Iterator[Finding]:
    """Kernels of sizes that do not keep signals, where nothing normalizes them."""
    large, small = [], []
    branch = {name for row in evidence.diagnosis.blocks for name in row.weights}
    for call in _hidden(evidence):
        kernel = kernel_of(call)
        if kernel is None or kernel.ndim < 2 or evidence.normalized_behind(call):
            continue
        operation = unwrapped(call.operation)
        gain = rms(kernel) * math.sqrt(np.prod(_fan_in(operation, kernel)))
        if gain > _LARGE:
            large.append((gain, call))
        elif 0 < gain < _SMALL and call.name not in branch:
            small.append((gain, call))
    for found, what in ((large, "large"), (small, "small")):
        if not found:
            continue
        gain, call = (max if found is large else min)(found, key=lambda pair: pair[0])
        together = math.prod(one for one, _ in found)
        yield Finding(
            "initialization",
            # A rate that is too high for such outputs is a symptom, and comes later.
            "error" if together > _RUINOUS else "warning",
            call.name,
            gain,
            f"The kernels of {len(found)} layers start {what}: that of {call.name} "
            f"multiplies the magnitude of what it reads by {gain:.3g}, where 1 to 1.4 "
            "keeps it.",
            redrawn(evidence, [c for _, c in found]),
        )


def _fan_in(operation: keras.layers.Layer, kernel: np.ndarray) -> tuple[int, ...]:
    """The axes that one unit sums over."""
    depthwise = getattr(operation, "depth_multiplier", None) is not None
    transposed = isinstance(
        operation,
        (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose),
    )
    if depthwise:
        return kernel.shape[:-2]
    if transposed:
        strides = np.prod(operation.strides)
        return (max(1, int(np.prod(kernel.shape[:-2]) / strides)), kernel.shape[-1])
    return kernel.shape[:-1]


def embedding_scale(evidence: Evidence) -> Iterator[Finding]:
    """Embeddings far larger or smaller than what follows is drawn for."""
    for call in evidence.weights:
        operation = unwrapped(call.operation)
        if not isinstance(operation, keras.layers.Embedding):
            continue
        table = ops.convert_to_numpy(ops.cast(operation.embeddings, "float32"))
        size = rms(table)
        low, high = _EMBEDDING
        if low <= size <= high or evidence.normalized_behind(call):
            continue
        layer = operation.name
        yield Finding(
            "embedding_scale",
            "warning",
            call.name,
            size,
            f"The embeddings of {call.name} are of size {size:.3g}: what follows is "
            "drawn for sizes near 1, and "
            + ("cannot see them." if size < low else "is driven to its bounds."),
            f'table = model.get_layer("{layer}").embeddings\n'
            "table.assign(keras.initializers.RandomNormal(stddev=0.5)(table.shape))"
            if evidence.is_layer(call) and operation is call.operation
            else "",
        )


RULES = (initialization, embedding_scale)
