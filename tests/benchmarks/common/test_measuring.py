import pytest

from benchmarks.common.benchmark import Arm, Benchmark, Ratio
from benchmarks.common.measuring import evaluate


def test_ratios_are_taken_turn_by_turn():
    # The machine was busy in the second turn, and slowed both arms.
    measures = {"a": {"step": [3.0, 60.0, 4.0]}, "b": {"step": [2.0, 40.0, 2.0]}}
    result = evaluate(Ratio("a / b", "a", "b", limit=1.5), measures)
    assert result["median"] == 1.5
    assert result["quartiles"] == [1.5, 1.75]
    assert result["values"] == 3
    assert result["passed"]


def test_without_denominator_the_limit_has_a_unit():
    measures = {"a": {"first_step": [7.5]}}
    result = evaluate(Ratio("first", "a", None, 7.0, "first_step"), measures)
    assert result["median"] == 7.5
    assert result["passed"] is False


@pytest.mark.parametrize("limit, passed", [(2.0, False), (None, None)])
def test_what_was_not_measured_does_not_pass(limit, passed):
    measures = {"a": {"step": [1.0]}, "b": {"step": [1.0]}}
    result = evaluate(Ratio("memory", "a", "b", limit, "memory"), measures)
    assert result["median"] is None
    assert result["passed"] is passed


def test_refuses_a_ratio_of_arms_that_there_are_not():
    with pytest.raises(ValueError, match="needs the arms.*'floor'"):
        Benchmark("b", {"a": Arm(print)}, [Ratio("a / floor", "a", "floor")])
