"""Operations that together are one activation, such as `x * relu6(x + 3) / 6`."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import tree

from fixinit.graph import Call, Graph
from fixinit.layers import facts_of
from fixinit.theory import Moments, NoRuleError
from fixinit.theory.application import apply
from fixinit.theory.calculus import Dependent
from fixinit.theory.registry import Setting

_WIDTH = 8


def chain_behind(graph: Graph, value: int) -> tuple[Call, ...]:
    """The operations that make another value of one, and of nothing else.

    All of them read that value and each other; what follows reads the last of them.

    Args:
        graph: `fixinit.graph.Graph`.
        value: int.

    Returns:
        Tuple of `fixinit.graph.Call`s, the most there are; empty if there are none.
    """
    consumers, shape = graph.consumers(), graph.specs[value].shape
    values, joined, closed = {value}, [], 0
    # Values with readers that have not joined.
    pending = {value: {id(reader) for reader in consumers.get(value, [])}}
    for call in graph.calls:
        reads_all = call.inputs and values.issuperset(call.inputs)
        if not reads_all or isinstance(call.operation, keras.layers.Layer):
            continue
        if facts_of(call.operation).rearranges:
            continue  # also where it keeps the shape, as of as many rows as columns
        if _reads_arrays(call):
            continue  # such as codes of positions, which are no part of an activation
        if len(call.outputs) != 1 or graph.specs[call.outputs[0]].shape != shape:
            continue
        (made,) = call.outputs
        joined.append(call)
        values.add(made)
        for read in call.inputs:
            pending[read].discard(id(call))
        pending[made] = {id(reader) for reader in consumers.get(made, [])}
        others = [readers for v, readers in pending.items() if v != made]
        if not any(others) and not values & set(graph.outputs) - {made}:
            closed = len(joined)
    return tuple(joined[:closed])


def _reads_arrays(call: Call) -> bool:
    """Whether a call reads constants that have axes."""
    given = tree.flatten(call.fill([None] * len(call.inputs)))
    return any(getattr(x, "ndim", 0) > 0 for x in given)


def chain_gain(value: int, chain: Sequence[Call]) -> float:
    """The gain of a chain, as `fixinit.theory.activation_gain` of one activation.

    1 for chains that are linear, or of which a part has no variance rule.
    """
    try:
        rest, square = (_moments(value, chain, variance) for variance in (0.0, 1.0))
    except (NoRuleError, Dependent):
        return 1.0
    if square.latent is None or rest.mean_square > 1e-9 * square.mean_square:
        return 1.0
    gain = 1 / square.mean_square if square.mean_square > 0 else math.inf
    return gain if math.isfinite(gain) else 1.0


def _moments(value: int, chain: Sequence[Call], variance: float) -> Moments:
    """What a chain gives for a normal value."""
    known: dict[int, Any] = {value: Moments.inputs((_WIDTH,), 0.0, variance)}
    for call in chain:
        setting = Setting(call.name, False, None, (_WIDTH,))
        args, kwargs = call.fill([known[read] for read in call.inputs])
        (known[call.outputs[0]],) = apply(call.operation, setting, args, kwargs)
    return known[chain[-1].outputs[0]]
