"""Finds what in a network a converter may take otherwise than its author meant it."""

from collections.abc import Iterator
from typing import Any

import keras

from fixinit import _keras
from fixinit.conversion import kinds
from fixinit.graph import Call, is_activation, is_addition
from fixinit.layers import facts_of


def unclear_additions(survey: Any) -> list[str]:
    """Names of additions that are no blocks, with weights between fork and sum."""
    ancestors, merges = survey.graph.ancestors(), {b.merge for b in survey.blocks}
    weights = _weight_values(survey)
    names = []
    for call in survey.graph.calls:
        if is_addition(call) and call not in merges:
            common, union = -1, 0
            for value in call.inputs:
                common &= ancestors[value]
                union |= ancestors[value]
            if common and union & ~common & weights:
                names.append(call.name)
    return names


def joins(survey: Any) -> list[str]:
    """Names of averages and the like of a value and what weights made of it."""
    ancestors, weights = survey.graph.ancestors(), _weight_values(survey)
    names = []
    for call in survey.graph.calls:
        if facts_of(call.operation).joins and len(call.inputs) == 2:
            first, second = call.inputs
            for value, other in ((first, second), (second, first)):
                depends = ancestors[other] >> value & 1
                if depends and ancestors[other] & ~ancestors[value] & weights:
                    names.append(call.name)
    return names


def _weight_values(survey: Any) -> int:
    """What weight layers give, as bits: see `fixinit.graph.Graph.ancestors`."""
    weights = 0
    for call in survey.graph.calls:
        if call.has_weights:
            weights |= 1 << call.outputs[0]
    return weights


def factors(survey: Any) -> list[str]:
    """Names of the factors beside residual additions."""
    merges = {block.merge for block in survey.blocks}
    names = []
    for call in survey.graph.calls:
        if kinds.is_factor(call):
            readers = survey.consumers.get(call.outputs[0], [])
            if {survey.producers[call.inputs[0]], *readers} & merges:
                names.append(call.name)
    return names


def bare_heads(plan: Any) -> list[str]:
    """Names of heads whose outputs pass no activation, as for probabilities."""
    return [
        weight.call.name
        for weight in plan.survey.weights
        if weight.role == "head"
        and plan.knows(weight.call)
        and weight.call.operation.trainable
        and not kinds.is_fused(weight.call)
        and not any(map(is_activation, _behind(plan.survey, weight.call)))
    ]


def _behind(survey: Any, call: Call) -> set[Call]:
    """The calls that depend on a call."""
    found: set[Call] = set()
    pending = list(call.outputs)
    while pending:
        readers = set(survey.consumers.get(pending.pop(), [])) - found
        found |= readers
        pending += [value for reader in readers for value in reader.outputs]
    return found


def called_inside(plan: Any) -> Iterator[str]:
    """Names of layers that hold layers which the model calls elsewhere too."""
    for call, _ in plan.graph.walk():
        layer = call.operation
        if isinstance(layer, keras.layers.Layer) and call.body is None:
            inside = _keras.flatten_layers(layer, include_self=False)
            if any(id(x) in plan.times_called for x in inside):
                yield call.name


def reads_data(plan: Any, call: Call) -> bool:
    """Whether a call alone reads the model's inputs, and no weights lie between.

    Otherwise, as at the start of a pre-activation network without a stem, it is one
    of the network's own.
    """
    survey, pending = plan.survey, list(call.inputs)
    while pending:
        value = pending.pop()
        before = survey.producers[value]
        if len(survey.consumers[value]) > 1 or before.has_weights:
            return False
        if is_addition(before) or plan.removed(before.operation):
            return False
        pending += before.inputs
    return True
