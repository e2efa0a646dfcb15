"""Marks that several tests share."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import pytest

_ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
_ON_TORCH = keras.backend.backend() == "torch"
# For single cases, as `slow_where_compiled`.
SLOW_WHERE_COMPILED = [] if _ON_TORCH else [pytest.mark.slow]
# For modules whose tests build a program, run it once and judge it, which PyTorch does
# the fastest: `.ci/run` runs them there, `-m evidence` on TensorFlow.
ON_TORCH = [pytest.mark.evidence if _ON_TENSORFLOW else pytest.mark.on_torch]


def slow_on_tensorflow(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test as slow where all tests run, not where the selected ones do.

    `.ci/run` runs what is slow on TensorFlow alone (see `conftest.py`).
    """
    if _ON_TENSORFLOW:
        return pytest.mark.slow(test)
    return test


def slow_where_compiled(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test as slow on TensorFlow and JAX: it compiles more than it runs."""
    return test if _ON_TORCH else pytest.mark.slow(test)


def on_torch(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test as `ON_TORCH`."""
    (mark,) = ON_TORCH
    return mark(test)


def mostly_slow(
    names: str | tuple[str, ...], cases: Iterable[Any], quick: int, **options: Any
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize`, whose cases but the first `quick` are slow.

    The others run on PyTorch by default, and are slow where functions are compiled.
    """
    return _parametrized(names, cases, quick, [], SLOW_WHERE_COMPILED, options)


def rest_on_torch(
    names: str | tuple[str, ...], cases: Iterable[Any], quick: int, **options: Any
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize`, whose cases but the first `quick` are `ON_TORCH`.

    Those are left out on JAX too.
    """
    rest = ON_TORCH if _ON_TORCH else [pytest.mark.evidence]
    return _parametrized(names, cases, quick, [], rest, options)


def mostly_on_torch(
    names: str | tuple[str, ...], cases: Iterable[Any], slow: int, **options: Any
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize`, whose cases but the first `slow` are `ON_TORCH`.

    The first ones are slow on TensorFlow, and run on PyTorch too; on JAX, as tests
    without a mark do.
    """
    first = [pytest.mark.slow] if _ON_TENSORFLOW else ON_TORCH if _ON_TORCH else []
    return _parametrized(names, cases, slow, first, ON_TORCH, options)


def _parametrized(
    names: str | tuple[str, ...],
    cases: Iterable[Any],
    count: int,
    first: list[pytest.MarkDecorator],
    rest: list[pytest.MarkDecorator],
    options: dict[str, Any],
) -> pytest.MarkDecorator:
    """Parametrizes with other marks for the first `count` cases than for the rest."""
    single = isinstance(names, str) and "," not in names
    marked = [
        pytest.param(
            *((case,) if single else case), marks=first if index < count else rest
        )
        for index, case in enumerate(cases)
    ]
    return pytest.mark.parametrize(names, marked, **options)
