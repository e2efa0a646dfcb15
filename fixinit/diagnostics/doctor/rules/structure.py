"""Rules of structure: what stands between weight layers, and batch statistics."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from fixinit import schemes
from fixinit.diagnostics._shared.activations import (
    is_linear,
    is_softmax,
    unwrapped,
)
from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.report.finding import Finding
from fixinit.graph import Call
from fixinit.layers import facts_of

# Sigmoids pass a quarter of a gradient on: three in a row a sixtieth.
_IN_A_ROW = 3
_SATURATING = ("sigmoid", "hard_sigmoid")
# Numbers that a batch statistic is the mean of.
_FEW = 4


def no_nonlinearity(evidence: Evidence) -> Iterator[Finding]:
    """Weight layers with nothing between them that is not linear."""
    pairs = [
        (call, after)
        for call in evidence.weights
        if (after := _linear_reader(evidence, call)) is not None
    ]
    found = [pair for pair in pairs if not _is_bottleneck(evidence, *pair)]
    if not found:
        return
    first, second = found[0]
    heads = {head.weight for head in evidence.heads}
    hidden = len([call for call in evidence.weights if call not in heads])
    layers = [call for call, _ in found if hasattr(call.operation, "activation")]
    yield Finding(
        "no_nonlinearity",
        "error" if len(found) >= hidden else "warning",
        first.name,
        float(len(found)),
        f"Nothing that is not linear stands between {first.name} and {second.name}"
        f"{f', and behind {len(found) - 1} other layers' if len(found) > 1 else ''}: "
        "the two are one linear layer.",
        _rectified(evidence, layers),
    )


def _rectified(evidence: Evidence, calls: Sequence[Call]) -> str:
    """Code by which layers that the model names end in a ReLU."""
    code = "\n".join(
        f'model.get_layer("{call.operation.name}").activation = keras.activations.relu'
        for call in calls
        if evidence.is_layer(call)
    )
    return compiled(evidence, code)


def _linear_reader(evidence: Evidence, call: Call) -> Call | None:
    """The weight layer of the same kind that alone reads a linear one, or `None`."""
    if not _is_linear(call):
        return None
    value = call.outputs[0]
    while True:
        readers = evidence.readers.get(value, [])
        if len(readers) != 1 or len(readers[0].inputs) != 1:
            return None
        (reader,) = readers
        if reader.has_weights:
            return reader if _is_linear_kind(reader) else None
        facts = facts_of(reader.operation)
        batch = isinstance(reader.operation, keras.layers.BatchNormalization)
        flat = facts.rearranges or isinstance(
            reader.operation, (keras.layers.Dropout, keras.layers.Identity)
        )
        same = facts.activates and is_linear(reader.operation)
        if not (batch or flat or same):
            return None
        value = reader.outputs[0]


def _is_linear_kind(call: Call) -> bool:
    layer = unwrapped(call.operation)
    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
    return isinstance(layer, kinds)


def _is_linear(call: Call) -> bool:
    layer = unwrapped(call.operation)
    return _is_linear_kind(call) and layer.activation is keras.activations.linear


def _is_bottleneck(evidence: Evidence, first: Call, second: Call) -> bool:
    """Whether two linear layers are a factorization of low rank."""
    specs = evidence.graph.specs
    kernels = [unwrapped(call.operation).kernel for call in (first, second)]
    before, after = (kernel.shape[:-2] for kernel in kernels)
    if any(a > 1 and b > 1 for a, b in zip(before, after, strict=False)):
        # Two kernels of several positions along an axis are one larger kernel.
        return False
    width = specs[first.outputs[0]].shape[-1]
    read, given = specs[first.inputs[0]].shape, specs[second.outputs[0]].shape
    # What a kernel of one position mixes, and what a larger one reads of each.
    into = (read[-1] or 1) * int(np.prod(before))
    width, given = width or 1, (given[-1] or 1) * int(np.prod(after))
    # Inverted residual blocks may keep the width of what they read (MobileNetV3).
    return width < given and (width < into or width == read[-1] and given > 2 * width)


def hidden_activation(evidence: Evidence) -> Iterator[Finding]:
    """Saturating activations in a row, or a softmax between weight layers."""
    ends = {head.layer for head in evidence.heads}
    row: list[Call] = []
    for call in evidence.graph.calls:
        activation = _activation(call)
        if activation is None or call.name in ends:
            continue
        name = getattr(activation, "__name__", "")
        if is_softmax(activation) and _feeds_dense(evidence, call):
            yield _softmax(evidence, call)
        row = [*row, call] if name in _SATURATING else []
        if len(row) == _IN_A_ROW:
            break
    if len(row) < _IN_A_ROW:
        return
    saturating = [
        call
        for call in evidence.graph.calls
        if getattr(_activation(call), "__name__", "") in _SATURATING
        and call.name not in ends
    ]
    yield Finding(
        "hidden_activation",
        "warning",
        row[0].name,
        float(len(row)),
        f"{len(row)} or more sigmoids follow each other from {row[0].name} on: each "
        "passes at most a quarter of a gradient back.",
        _rectified(evidence, saturating),
    )


def _activation(call: Call) -> Any:
    layer = unwrapped(call.operation)
    if isinstance(layer, keras.layers.RNN):
        # Its gates are made for it.
        return None
    if facts_of(layer).activates:
        return getattr(layer, "activation", layer)
    held = getattr(layer, "activation", None)
    return None if held is keras.activations.linear else held


def _feeds_dense(evidence: Evidence, call: Call) -> bool:
    """Whether only `Dense` layers read it: attention and gates multiply."""
    readers = evidence.readers.get(call.outputs[0], [])
    return bool(readers) and all(
        isinstance(reader.operation, keras.layers.Dense)
        or isinstance(reader.operation, keras.layers.Dropout)
        and _feeds_dense(evidence, reader)
        for reader in readers
    )


def _softmax(evidence: Evidence, call: Call) -> Finding:
    has_choice = hasattr(call.operation, "activation")
    return Finding(
        "hidden_activation",
        "warning",
        call.name,
        1.0,
        f"The softmax of {call.name} stands between weight layers: its outputs add up "
        "to 1, and the more units there are the smaller each is.",
        _rectified(evidence, [call] if has_choice else []),
    )


def normalization_batch(evidence: Evidence) -> Iterator[Finding]:
    """BatchNormalization over too few numbers."""
    diagnosis = evidence.diagnosis
    if not diagnosis.training or diagnosis.batch_size > _FEW:
        return
    for call in evidence.graph.calls:
        layer = call.operation
        if (
            not isinstance(layer, keras.layers.BatchNormalization)
            or not layer.trainable
        ):
            continue
        shape = list(evidence.graph.specs[call.inputs[0]].shape)
        shape.pop(layer.axis if isinstance(layer.axis, int) else -1)
        count = diagnosis.batch_size * int(np.prod([n or 1 for n in shape[1:]]))
        if count > _FEW:
            continue
        yield Finding(
            "normalization_batch",
            "error" if count == 1 else "warning",
            call.name,
            float(count),
            f"{call.name} normalizes with the statistics of {count} numbers: "
            + (
                "what it puts out is the same for every input. "
                if count == 1
                else "each sample changes what the others become. "
            )
            + "Give more samples, or take the normalization out.",
            remedies.converted(evidence, schemes.remedies("exploding")[0])
            if diagnosis.blocks
            else "",
        )
        return


RULES = (no_nonlinearity, hidden_activation, normalization_batch)
