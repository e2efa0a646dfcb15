"""Marks that several tests share."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_slow(
    names: str | tuple[str, ...], cases: Iterable[Any], quick: int, **options: Any
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize`, whose cases but the first `quick` are slow.

    Cases that are a `pytest.param` keep the marks that they have.
    """
    single = isinstance(names, str) and "," not in names

    def slow(case: Any) -> Any:
        if isinstance(case, type(pytest.param())):
            return case
        values = (case,) if single else case
        return pytest.param(*values, marks=pytest.mark.slow)

    first, rest = (list(cases)[:quick], list(cases)[quick:])
    return pytest.mark.parametrize(names, [*first, *map(slow, rest)], **options)
