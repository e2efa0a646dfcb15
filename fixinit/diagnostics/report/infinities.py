"""Infinities that a network makes on purpose, and those that it overflows to."""

from collections.abc import Mapping

import numpy as np

from fixinit import graph
from fixinit.diagnostics.report.moments import FORWARD

_PEAK, _INFINITE = FORWARD.index("peak"), FORWARD.index("infinite")
# Where a tensor overflows, its largest finite values are near the end of the range.
_NEAR = 1 / 16
_LARGEST = {
    "float16": 6.5504e4,
    "bfloat16": 3.3895e38,
    "float32": 3.4028e38,
    "float64": 1.7977e308,
}


def with_overflow(
    model_graph: graph.Graph, forward: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Marks the activations whose infinities matter: their peak becomes infinite.

    Infinities that nothing reads on are part of the network, as the -inf of padding in
    front of max pooling, or of masks in front of a softmax: what reads them is finite.

    Args:
        model_graph: `fixinit.graph.Graph`.
        forward: Dict from names of calls to what `Measure` gives.
    """
    found = dict(forward)
    for inner, _ in model_graph.graphs():
        harmless = _harmless(inner, forward)
        for call in inner.calls:
            if call.name in forward and call.name not in harmless:
                observed = forward[call.name].copy()
                overflows = observed[..., _INFINITE] > 0
                observed[overflows, _PEAK] = np.inf
                found[call.name] = observed
    return found


def _harmless(inner: graph.Graph, forward: Mapping[str, np.ndarray]) -> set[str]:
    """Names of the calls with infinities that nothing reads on."""
    consumers, found = inner.consumers(), set()
    for call in reversed(inner.calls):
        observed, value = forward.get(call.name), call.outputs[0]
        if observed is None or value in inner.outputs:
            continue
        share = np.max(observed[..., _INFINITE])
        largest = _NEAR * _LARGEST[inner.specs[value].dtype]
        readers = consumers.get(value, [])
        if (
            0 < share < 1
            and np.all(observed[..., _PEAK] < largest)
            and all(r.name in found or _is_finite(r, forward) for r in readers)
        ):
            found.add(call.name)
    return found


def _is_finite(call: graph.Call, forward: Mapping[str, np.ndarray]) -> bool:
    """Whether everything that a call gives is finite, as integers are."""
    if call.name not in forward:
        return call.body is None
    observed = forward[call.name]
    return bool(
        np.all(np.isfinite(observed[..., _PEAK]))
        and not np.any(observed[..., _INFINITE])
    )
