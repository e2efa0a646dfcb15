"""Finds the weight layers that make the outputs of a model."""

import collections
from typing import Any

from fixinit.conversion import kinds
from fixinit.graph import Call
from fixinit.layers import facts_of


def find_outputs(survey: Any) -> tuple[dict[Call, bool], set[Call]]:
    """The weight layers that make the model's outputs, and the calls behind them.

    Such a layer stands outside of residual blocks, and nothing but outputs of the
    model read it, through activations for probabilities or estimates, changes of the
    shape, global pooling, factors, normalization, and what joins several heads, as
    those of a detector's levels.

    Args:
        survey: `Survey` with the places of calls.

    Returns:
        `(layers, behind)`: a dict from the calls of such layers to whether they are
        heads, as no normalization follows, and a set of calls.
    """
    last, behind = _lead_out(survey)
    # A layer that the model also calls elsewhere is nothing that ends it.
    calls = collections.Counter(id(call.operation) for call in survey.graph.calls)
    ends = collections.Counter(id(call.operation) for call in last)
    found = {
        call: is_head
        for call, is_head in last.items()
        if ends[id(call.operation)] == calls[id(call.operation)]
    }
    made = {value for call in found for value in call.outputs}
    passed = set()
    for call in behind:
        if made & set(call.inputs):
            passed.add(call)
            made.update(call.outputs)
    return found, passed


def _lead_out(survey: Any) -> tuple[dict[Call, bool], list[Call]]:
    """The weight layers whose readers all lead to outputs, and these, in order."""
    outputs = set() if survey.inside else set(survey.graph.outputs)
    last: dict[Call, bool] = {}
    behind: dict[Call, bool] = {}  # to whether normalization follows
    for call in reversed(survey.graph.calls):
        readers = _readers(survey, call, outputs, behind)
        if readers is None:
            continue
        normalized = any(behind[reader] for reader in readers)
        if _may_be_behind(survey, call):
            behind[call] = normalized or kinds.is_normalization(call.operation)
        elif call not in survey.places and _may_be_last(call):
            last[call] = not normalized
    return last, list(behind)[::-1]


def _readers(
    survey: Any, call: Call, outputs: set[int], behind: dict[Call, bool]
) -> list[Call] | None:
    """What reads a call; `None` if that leads to anything but outputs of the model."""
    found: list[Call] = []
    for value in call.outputs:
        readers = survey.consumers.get(value, [])
        if readers and value in outputs:
            return None
        found += readers
    leads_out = bool(found) or bool(outputs & set(call.outputs))
    return found if leads_out and all(r in behind for r in found) else None


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
