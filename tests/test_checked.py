"""Type hints that hold at run time."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from fixinit._checked import check_fields, checked


@checked
def function(
    text: str,
    count: int = 1,
    factor: float = math.nan,
    flag: bool = False,
    sizes: Sequence[int | None] = (),
    pair: tuple[float, float] | None = None,
    layer: keras.layers.Layer | None = None,
    apply: Callable[[float], float] = abs,
    either: str | float = 0.5,
    options: dict[str, Any] | None = None,
    anything: Any = None,
    **more: Any,
):
    """What it does."""
    return locals()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("text", 3, "`text` must be a string"),
        ("count", 1.5, "`count` must be an integer"),
        ("count", True, "`count` must be an integer"),
        ("factor", math.inf, "`factor` must be a finite number"),
        ("factor", float("nan"), "`factor` must be a finite number"),
        ("flag", 1, "`flag` must be True or False"),
        ("sizes", "12", "`sizes` must be a tuple"),
        ("sizes", [1, "x"], r"`sizes\[1\]` must be an integer"),
        ("pair", (1.0,), "`pair` must have 2 entries"),
        ("pair", (1.0, math.nan), r"`pair\[1\]` must be a finite number"),
        ("either", None, "`either` must be a string or a finite number"),
        ("either", math.nan, "`either` must be a string or a finite number"),
    ],
)
def test_values_that_hints_do_not_allow(name, value, message):
    with pytest.raises(ValueError, match=message):
        function(**{"text": "", name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer", "dense", "`layer` must be a keras.Layer. Received: .* of type str"),
        ("apply", 3, "`apply` must be callable"),
        ("options", [1], "`options` must be a dict"),
    ],
)
def test_objects_that_hints_do_not_allow(name, value, message):
    with pytest.raises(TypeError, match=message):
        function(**{"text": "", name: value})


def test_numbers_of_numpy_become_those_of_python():
    found = function(np.str_("a"), np.int64(2), np.float32(0.5), np.bool_(True))
    kinds = [type(found[name]) for name in ("count", "factor", "flag")]
    assert kinds == [int, float, bool]
    assert function("", sizes=[np.int8(1), None])["sizes"] == [1, None]
    assert function("", sizes=(n for n in (1, 2)))["sizes"] == (1, 2)


def test_defaults_and_what_has_no_hint_pass():
    assert math.isnan(function("", factor=math.nan)["factor"])
    thing = object()
    assert function("", anything=thing, other=thing)["more"] == {"other": thing}


def test_python_refuses_what_the_function_does_not_take():
    with pytest.raises(TypeError, match="missing 1 required .* 'text'"):
        function()
    with pytest.raises(TypeError, match="multiple values for argument 'text'"):
        function("a", text="b")


def test_the_function_keeps_its_name_and_its_signature():
    assert function.__name__ == "function" and function.__doc__ == "What it does."
    assert list(inspect.signature(function).parameters)[:2] == ["text", "count"]


@dataclasses.dataclass(frozen=True)
class Record:
    count: int
    rate: float = 0.5

    def __post_init__(self):
        check_fields(self)


def test_fields_of_a_dataclass():
    assert type(Record(np.int64(3)).count) is int
    with pytest.raises(ValueError, match="`rate` must be a finite number"):
        Record(1, math.nan)
