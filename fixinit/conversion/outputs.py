"""Finds the weight layers that make the outputs of a model."""

import collections
from typing import Any

from fixinit.conversion import kinds
from fixinit.graph import Call
from fixinit.layers import facts_of


def find_outputs(survey: Any) -> tuple[dict[Call, bool], set[Call]]:
    """The weight layers that make the model's outputs, and the calls behind them.

    Such a layer stands outside of residual blocks, and nothing but an output of the
    model reads it, through activations for probabilities or estimates, changes of the
    shape, global pooling, factors or normalization.

    Args:
        survey: `Survey` with the places of calls.

    Returns:
        `(layers, behind)`: a dict from the calls of such layers to whether they are
        heads, as no normalization follows, and a set of calls.
    """
    found: dict[Call, bool] = {}
    behind: dict[Call, list[Call]] = {}
    for value in [] if survey.inside else survey.graph.outputs:
        passed, call = [], survey.producers[value]
        while _may_be_behind(survey, call):
            passed.append(call)
            call = survey.producers[call.inputs[0]]
        alone = all(_is_read_once(survey, c, value) for c in [call, *passed])
        if alone and call not in survey.places and _may_be_last(call):
            normalized = any(kinds.is_normalization(c.operation) for c in passed)
            found[call] = not normalized
            behind[call] = passed
    # A layer that the model also calls elsewhere is nothing that ends it.
    calls = collections.Counter(id(call.operation) for call in survey.graph.calls)
    ends = collections.Counter(id(call.operation) for call in found)
    found = {
        call: is_head
        for call, is_head in found.items()
        if ends[id(call.operation)] == calls[id(call.operation)]
    }
    return found, {passed for call in found for passed in behind[call]}


def _may_be_behind(survey: Any, call: Call) -> bool:
    """Whether a call may stand between the last weight layer and an output."""
    if call.is_input or call in survey.places or call.has_weights:
        return False
    follows = facts_of(call.operation).follows_head
    normalizes = kinds.is_normalization(call.operation)
    return follows or normalizes or kinds.is_factor(call)


def _may_be_last(call: Call) -> bool:
    """Whether a call is that of a weight layer whose outputs may be scores."""
    if not kinds.kernel_arguments(call.operation):
        return False
    held = getattr(kinds.unwrapped(call.operation), "activation", None)
    return held is None or facts_of(held).follows_head


def _is_read_once(survey: Any, call: Call, output: int) -> bool:
    """Whether nothing but what leads to one output of the model reads a call."""
    value = call.outputs[0]
    readers = len(survey.consumers.get(value, []))
    if value == output:
        return readers == 0
    return readers == 1 and value not in survey.graph.outputs
