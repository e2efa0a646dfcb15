"""Sums outside of residual blocks, such as those of many forecasts."""

from collections.abc import Iterator
from typing import Any

from fixinit.graph import Call, is_addition
from fixinit.layers import facts_of


def find_terms(survey: Any) -> dict[int, int]:
    """How many terms the sums outside of blocks have, by what goes into them.

    Additions one behind the other are one sum, unless something else reads what is
    between them. A sum keeps the size of its terms if each has its share.

    Args:
        survey: `Survey`.

    Returns:
        Dict from values to the number of terms of the sum that they go into: the terms,
        and what those are made of in another shape or order.
    """
    found: dict[int, int] = {}
    inner: set[Call] = set()
    for call in reversed(survey.graph.calls):
        if _is_sum(survey, call) and call not in inner:
            terms = _terms(survey, call, inner)
            for term in terms:
                found |= dict.fromkeys(_same(survey, term), len(terms))
    return found


def _is_sum(survey: Any, call: Call) -> bool:
    """Whether a call is an addition outside of residual blocks and gates."""
    return is_addition(call) and call not in survey.places and call not in survey.gates


def _terms(survey: Any, call: Call, inner: set[Call]) -> list[int]:
    """The values that a sum adds up. The additions in it go into `inner`."""
    found, pending = [], list(call.inputs)
    while pending:
        value = pending.pop()
        before = survey.producers[value]
        if _is_sum(survey, before) and _is_read_once(survey, value):
            inner.add(before)
            pending += before.inputs
        else:
            found.append(value)
    return found


def _same(survey: Any, value: int) -> Iterator[int]:
    """A value, and what it is made of in another shape or order, read by it alone."""
    while _is_read_once(survey, value):
        yield value
        before = survey.producers[value]
        if len(before.inputs) != 1 or not facts_of(before.operation).rearranges:
            return
        (value,) = before.inputs


def _is_read_once(survey: Any, value: int) -> bool:
    is_output = value in survey.graph.outputs
    return len(survey.consumers.get(value, [])) == 1 and not is_output
