"""Rules of recurrent layers: how far back in time gradients reach."""

from collections.abc import Iterator

import keras
import numpy as np

from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.moments import RECURRENT
from fixinit.graph import Call

# Steps from which on a memory can be short, and the share of them that is short.
_STEPS, _SHORT = 20, 0.25
# What is left of a gradient where it counts as gone, and over how many steps it goes if
# it falls by a factor of e in each. Gates as Keras draws them take 10 to 20 steps.
_LEFT, _FAST = 1e-3, 7
_GROWN, _GROWN_ERROR = 1e3, 1e6
# Mean square of what a layer gives, next to what it reads or 1.
_LARGE = 1e4


def memory(evidence: Evidence) -> Iterator[Finding]:
    """Gradients that vanish or explode over the steps of a recurrent layer.

    The largest magnitude of the gradient of what the layer reads, step by step: the
    share of steps in which it is at least a thousandth of the largest, and the ratio of
    the first step to the last.
    """
    for call in evidence.graph.calls:
        layer = call.operation
        if not isinstance(layer, RECURRENT):
            continue
        large = _outgrown(evidence, call)
        if large > _LARGE:
            yield _large(evidence, call, large)
            continue
        given = evidence.measured.by_step.get(evidence.producers[call.inputs[0]].name)
        if given is None or not np.isfinite(given).all():
            continue
        # Steps that are padded in all samples get none.
        steps = np.flatnonzero(given)
        if not steps.size or len(given) < _STEPS:
            continue
        peaks = given[steps[0] : steps[-1] + 1]
        if getattr(layer, "go_backwards", False):
            peaks = peaks[::-1]
        grown = float(peaks[0] / peaks[-1])
        reached = int((peaks >= _LEFT * peaks.max()).sum())
        if not isinstance(layer, keras.layers.Bidirectional) and grown > _GROWN:
            yield _exploding(evidence, call, len(peaks), grown)
        elif reached < _SHORT * len(given):
            yield _vanishing(evidence, call, len(given), reached)


def _outgrown(evidence: Evidence, call: Call) -> float:
    """Mean square of what a layer gives over that of what it reads, or over 1."""
    read, given = evidence.row_of(call.inputs[0]), evidence.row_of(call.outputs[0])
    if read is None or given is None:
        return 0.0
    return given.mean_square / max(read.mean_square, 1.0)


def _large(evidence: Evidence, call: Call, large: float) -> Finding:
    return Finding(
        "exploding",
        "error",
        call.name,
        large,
        f"The mean square of what {call.name} gives is {large:.3g} times that of what "
        "it reads: its state grows with every step.",
        _orthogonal(evidence, call),
    )


def _exploding(evidence: Evidence, call: Call, steps: int, grown: float) -> Finding:
    return Finding(
        "exploding",
        "error" if grown > _GROWN_ERROR else "warning",
        call.name,
        grown,
        f"Gradients grow on their way back through the {steps} steps of {call.name}, "
        f"{grown:.3g} times in all: its recurrent kernel is too large.",
        _orthogonal(evidence, call),
    )


def _vanishing(evidence: Evidence, call: Call, steps: int, reached: int) -> Finding:
    fast = reached < _FAST
    gated = isinstance(call.operation, (keras.layers.LSTM, keras.layers.GRU))
    return Finding(
        "vanishing",
        "warning" if fast else "note",
        call.name,
        float(reached),
        f"Of the {steps} steps that {call.name} reads, {reached} get a gradient within "
        "a thousandth of the largest: it learns what is further back later, or not.",
        _open(evidence, call, steps) if gated else _orthogonal(evidence, call),
    )


def _orthogonal(evidence: Evidence, call: Call) -> str:
    """Code that draws the recurrent kernel anew, by which sizes are kept."""
    cell = getattr(call.operation, "cell", None)
    kernel = getattr(cell, "recurrent_kernel", None)
    if not evidence.is_layer(call) or len(getattr(kernel, "shape", ())) != 2:
        return ""
    return (
        f'kernel = model.get_layer("{call.operation.name}").cell.recurrent_kernel\n'
        "kernel.assign(keras.initializers.Orthogonal(seed=0)(kernel.shape))"
    )


def _open(evidence: Evidence, call: Call, steps: int) -> str:
    """Code that keeps the state for as many steps as there are.

    A gate of sigmoid(log(T - 1)) keeps 1 - 1 / T of a state in each step, and one of
    the opposite bias adds 1 / T (Tallec and Ollivier 2018, "Can recurrent neural
    networks warp time?"); the two gates of a GRU are one.
    """
    cell = call.operation.cell
    if not evidence.is_layer(call) or cell.bias is None:
        return ""
    units = cell.units
    is_lstm = isinstance(call.operation, keras.layers.LSTM)
    added = f"start[..., :{units}] = -np.log({steps - 1})\n" if is_lstm else ""
    kept = f"{units}:{2 * units}" if is_lstm else f":{units}"
    return (
        f'bias = model.get_layer("{call.operation.name}").cell.bias\n'
        "start = np.zeros(bias.shape)\n"
        f"{added}start[..., {kept}] = np.log({steps - 1})\n"
        "bias.assign(start)"
    )


RULES = (memory,)
