"""Marks that several tests share."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import pytest


def slow_on_tensorflow(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test as slow where all tests run, not where the selected ones do.

    `.ci/run` runs what is slow on TensorFlow alone (see `conftest.py`).
    """
    if keras.backend.backend() == "tensorflow":
        return pytest.mark.slow(test)
    return test


def mostly_slow(
    names: str | tuple[str, ...], cases: Iterable[Any], quick: int, **options: Any
) -> pytest.MarkDecorator:
    """`pytest.mark.parametrize`, whose cases but the first `quick` are slow.

    They are slow on TensorFlow, as in `slow_on_tensorflow`.
    """
    single = isinstance(names, str) and "," not in names

    def slow(case: Any) -> Any:
        values = (case,) if single else case
        return pytest.param(*values, marks=pytest.mark.slow)

    cases = list(cases)
    if keras.backend.backend() == "tensorflow":
        cases[quick:] = map(slow, cases[quick:])
    return pytest.mark.parametrize(names, cases, **options)


# For modules: `pytestmark = SLOW_ON_TENSORFLOW`, as `slow_on_tensorflow`.
SLOW_ON_TENSORFLOW = (
    [pytest.mark.slow] if keras.backend.backend() == "tensorflow" else []
)

# For modules whose tests build a program, run it once and judge it, which PyTorch does
# the fastest: `.ci/run` runs them there, `-m evidence` on TensorFlow.
ON_TORCH = [
    pytest.mark.evidence
    if keras.backend.backend() == "tensorflow"
    else pytest.mark.on_torch
]
