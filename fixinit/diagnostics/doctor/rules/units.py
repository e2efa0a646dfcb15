"""Rules of units: rectifiers that are dead, bounded activations at their bounds."""

import math
from collections.abc import Iterator

import keras
import numpy as np

from fixinit.diagnostics.doctor import remedies
from fixinit.diagnostics.doctor.compiling import compiled
from fixinit.diagnostics.doctor.evidence import Evidence, kernel_of, rms
from fixinit.diagnostics.doctor.rules.inputs import rescaled
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.moments import bounds_of
from fixinit.graph import Call
from fixinit.layers import facts_of

# Where inputs are alike, half of the units of a drawn layer are zero for all of them:
# share of dead units, and how many deviations of chance it must be above a half. In
# layers of fewer units than `_FEWEST` all of them must be, for as many samples.
_DEAD, _DEVIATIONS, _FEWEST = 0.8, 3.0, 8
_SATURATED = 0.8
# Gates are published with biases down to -5, which gives 0.007.
_SHUT = 1e-3
# Magnitude of raw inputs above which these are mended, and not the kernel.
_LARGE_INPUT = 3.0
# Weight layers of which each unit sums over all axes of the kernel but the last.
_KNOWN = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)


def dead_units(evidence: Evidence) -> Iterator[Finding]:
    """Rectifiers of which most units are zero for all samples."""
    found = []
    for call in evidence.graph.calls:
        row = evidence.rows.get(call.name)
        count = _channels(evidence, call)
        if row is None or not row.is_cut:
            continue
        bound = max(_DEAD, min(1.0, 0.5 + _DEVIATIONS * 0.5 / math.sqrt(count)))
        if count < _FEWEST:
            bound = 1.0 if evidence.diagnosis.batch_size >= _FEWEST else math.inf
        if row.dead >= bound:
            found.append((row, count, call))
    if not found:
        return
    worst, count, _ = max(found, key=lambda one: one[0].dead)
    yield Finding(
        "dead_units",
        "error" if worst.dead == 1 else "warning",
        worst.name,
        worst.dead,
        f"{100 * worst.dead:.0f} % of the {count} units of {worst.name} are zero for "
        f"all {evidence.diagnosis.batch_size} samples, and get no gradient; "
        f"{len(found)} layers are like this.",
        remedies.lines(
            *(
                revive(evidence, calls)
                for revive, calls in (
                    (_revived, [call for _, n, call in found if n >= _FEWEST]),
                    (_leaking, [call for _, n, call in found if n < _FEWEST]),
                )
                if calls
            )
        ),
    )


def _leaking(evidence: Evidence, calls: list[Call]) -> str:
    """Code that gives few units a slope below zero: other draws may be as dead."""
    if not all(
        evidence.is_layer(call) and hasattr(call.operation, "activation")
        for call in calls
    ):
        return ""
    code = "\n".join(
        f'model.get_layer("{call.operation.name}").activation = '
        "keras.activations.leaky_relu"
        for call in calls
    )
    return compiled(evidence, code)


def _revived(evidence: Evidence, calls: list[Call]) -> str:
    """Code that draws what stands in front of dead units anew, without biases."""
    drawn, shifted = list[str](), list[str]()
    for call in calls:
        chain = _in_front(evidence, call)
        if chain is None or getattr(chain[-1].operation, "kernel", None) is None:
            return ""
        drawn.append(chain[-1].operation.name)
        shifted += [c.operation.name for c in chain[:-1] if _has_beta(c)]
    names = list(dict.fromkeys(drawn))
    return remedies.lines(
        remedies.redrawn(names, "HeNormal", biases=True),
        remedies.without_biases(shifted) if shifted else None,
    )


def _has_beta(call: Call) -> bool:
    return getattr(call.operation, "beta", None) is not None


def _in_front(evidence: Evidence, call: Call) -> list[Call] | None:
    """The calls from an activation back to the weight layer that it reads.

    `None` if there is another way to it, or a layer that the model does not name.
    """
    chain = [call]
    while not chain[-1].has_weights:
        if len(chain[-1].inputs) != 1:
            return None
        chain.append(evidence.producers[chain[-1].inputs[0]])
    named = all(evidence.is_layer(c) for c in chain if c.has_weights or _has_beta(c))
    return chain if named else None


def _channels(evidence: Evidence, call: Call) -> int:
    value = call.outputs[0]
    shape = evidence.graph.specs[value].shape
    if len(shape) < 2:
        return 1
    return int(shape[evidence.graph.channel_axes[value]] or 1)


def saturated(evidence: Evidence) -> Iterator[Finding]:
    """Bounded hidden activations of which most stand at their bounds."""
    ends = {head.layer for head in evidence.heads}
    rows = [
        row
        for row in evidence.diagnosis.layers
        if row.saturated > _SATURATED and row.is_cut and row.name not in ends
    ]
    if not rows:
        return
    worst = max(rows, key=lambda row: row.saturated)
    yield Finding(
        "saturated",
        "warning",
        worst.name,
        worst.saturated,
        f"{100 * worst.saturated:.0f} % of the outputs of {worst.name} stand at the "
        "bounds of its activation, where it has no slope: what it reads is too large.",
        _smaller(evidence, evidence.calls.get(worst.name)),
    )


def _smaller(evidence: Evidence, call: Call | None) -> str:
    """Code by which a bounded activation reads numbers of size 1."""
    chain = None if call is None else _in_front(evidence, call)
    if chain is None:
        return ""
    weight, (value, *_) = chain[-1], chain[-1].inputs
    kernel, row = kernel_of(weight), evidence.row_of(value)
    if not isinstance(weight.operation, _KNOWN) or kernel is None or row is None:
        return ""
    read = math.sqrt(row.mean_square)
    if read > _LARGE_INPUT and value in evidence.graph.inputs:
        return rescaled(evidence, evidence.x[evidence.graph.inputs.index(value)])
    size = rms(kernel) * math.sqrt(np.prod(kernel.shape[:-1])) * read
    if not 0 < size < math.inf:
        return ""
    return remedies.rescaled_kernel(weight.operation.name, 1 / size)


def shut_gates(evidence: Evidence) -> Iterator[Finding]:
    """Gates between 0 and 1 that are all near 0: what they multiply is gone."""
    for call in evidence.graph.calls:
        row = evidence.rows.get(call.name)
        if row is None or not 0 < row.peak < _SHUT:
            continue
        bounds = bounds_of(call)
        if bounds is None or bounds[0] < -_SHUT:
            continue
        readers = evidence.readers.get(call.outputs[0], [])
        if not readers or not all(facts_of(r.operation).multiplies for r in readers):
            continue
        bias = getattr(call.operation, "bias", None)
        yield Finding(
            "saturated",
            "warning",
            call.name,
            row.peak,
            f"The gate {call.name} is shut: its outputs are at most {row.peak:.3g}, "
            "and so are what it lets through and its gradient.",
            remedies.without_biases([call.operation.name])
            if bias is not None and evidence.is_layer(call)
            else "",
        )
        return


RULES = (dead_units, saturated, shut_gates)
