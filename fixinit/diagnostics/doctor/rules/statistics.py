"""Rules of moving statistics: batch normalization that tests as it does not train."""

import math
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence, are_as_made
from fixinit.diagnostics.doctor.heads import heads_of
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.measure import Measure
from fixinit.graph import Call

# Loss of a batch in test mode over that in training mode. Statistics of a batch differ
# from those of all batches, and a model that is nearly perfect by much.
_WORSE, _GOOD = 2.0, 0.9
# Mean square behind a layer that should make it 1.
_FAR = 100.0


def moving_statistics(evidence: Evidence) -> Iterator[Finding]:
    """Moving statistics that are not those of the data.

    Of layers that are trained: the loss of the batch in test mode, with moving
    statistics, is twice that in training mode, with those of the batch. Nothing is said
    of statistics that have never been updated, as training updates them. Of frozen
    layers: with a mean of 0 and a variance of 1, as they are made, they hand on a mean
    square beyond 1/100 to 100.
    """
    calls = [
        call
        for call in evidence.graph.calls
        if isinstance(call.operation, keras.layers.BatchNormalization)
    ]
    yield from _frozen(evidence, [c for c in calls if not c.operation.trainable])
    updated = [c for c in calls if c.operation.trainable and not _is_virgin(c)]
    if updated and evidence.diagnosis.training:
        yield from _lie(evidence, updated)


def _is_virgin(call: Call) -> bool:
    layer = call.operation
    return are_as_made(layer.moving_mean, layer.moving_variance)


def _numpy(variable: keras.Variable) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(variable, "float32"))


def _frozen(evidence: Evidence, calls: list[Call]) -> Iterator[Finding]:
    found = []
    for call in calls:
        row = evidence.rows.get(call.name)
        if row is None or not _is_virgin(call) or not 0 < row.mean_square < math.inf:
            continue
        if not 1 / _FAR <= row.mean_square <= _FAR:
            found.append((abs(math.log(row.mean_square)), row.mean_square, call))
    if not found:
        return
    _, size, call = max(found, key=lambda one: one[0])
    names = [c.operation.name for _, _, c in found if evidence.is_layer(c)]
    code = "\n".join(f'model.get_layer("{name}").trainable = True' for name in names)
    yield Finding(
        "normalization_batch",
        "error",
        call.name,
        size,
        f"{call.name} is frozen with the statistics that it is made with, a mean of 0 "
        f"and a variance of 1, and normalizes nothing: the mean square behind it is "
        f"{size:.3g}. {len(found)} layers are like this. Load trained weights, or "
        "train them.",
        compiled(evidence, code) if len(names) == len(found) else "",
    )


def _lie(evidence: Evidence, calls: list[Call]) -> Iterator[Finding]:
    loss = evidence.diagnosis.loss
    if loss is None or not 0 < loss < math.inf:
        return
    program = evidence.program.first(evidence.diagnosis.batch_size)
    measure = Measure(program.subject, program.loss, training=False)
    found = measure(program.x, program.y, program.given)
    outputs = [ops.convert_to_numpy(ops.cast(h, "float32")) for h in found.outputs]
    heads = heads_of(program.subject, program.loss, program.y, outputs)
    if not found.loss > _WORSE * loss or all(head.skill > _GOOD for head in heads):
        return
    call = max(calls, key=lambda one: _gap(evidence, one))
    steps = 1 / max(1 - call.operation.momentum, 1e-9)
    yield Finding(
        "normalization_batch",
        "warning",
        call.name,
        found.loss / loss,
        f"In test mode the loss of the batch is {found.loss:.3g}, in training mode "
        f"{loss:.3g}: the moving statistics of {len(calls)} layers, first of "
        f"{call.name}, are not those of the data. With its momentum, "
        f"{call.operation.momentum:g}, they follow in {steps:.3g} steps.",
        _followed(evidence, calls),
    )


def _gap(evidence: Evidence, call: Call) -> float:
    """By how many factors of e moving statistics miss the data's mean square."""
    row = evidence.row_of(call.inputs[0])
    mean = _numpy(call.operation.moving_mean)
    variance = _numpy(call.operation.moving_variance)
    held = float(np.mean(mean**2 + variance))
    if row is None or not row.mean_square > 0 or not held > 0:
        return 0.0
    return abs(math.log(row.mean_square / held))


def _followed(evidence: Evidence, calls: list[Call]) -> str:
    """Code by which moving statistics become those of the data."""
    if not evidence.program.is_array or not all(map(evidence.is_layer, calls)):
        return ""
    names = ", ".join(f'"{call.operation.name}"' for call in calls)
    return (
        f"for name in ({names},):\n"
        "    model.get_layer(name).momentum = 0.9\n"
        "for _ in range(50):\n"
        "    model(x[:256], training=True)"
    )


RULES = (moving_statistics,)
