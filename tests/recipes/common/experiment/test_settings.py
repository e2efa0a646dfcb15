import dataclasses
import math

import pytest

from recipes.common.experiment.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Asked(Settings):
    units: int = setting(64, "Width.")
    seed: int = setting(0, "Seed.", at_least=0, below=2**31)
    rate: float = setting(0.1, "Learning rate.", quick=1.0)
    momentum: float = setting(0.9, "Momentum.", at_least=0, below=1)
    bound: float = setting(100.0, "Largest loss.", below=None)
    excess: float = setting(2.0, "More than one.", above=1)
    depth: int | None = setting(None, "Depends on others.")
    depths: tuple[int, ...] = setting((2, 4), "Depths.")
    remat: str = setting("none", "What is kept.", choices=("none", "sqrt"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"units": 0}, "--units must be an integer, at least 1. Received: --units=0"),
        ({"units": 2.5}, "an integer"),
        ({"units": True}, "an integer"),
        ({"units": None}, "an integer"),
        ({"seed": -1}, "an integer, at least 0 and below 2147483648"),
        ({"rate": 0.0}, "--rate must be positive and finite"),
        ({"rate": math.nan}, "--rate must be positive and finite"),
        ({"rate": math.inf}, "--rate must be positive and finite"),
        ({"rate": "fast"}, "--rate must be positive and finite"),
        ({"momentum": 1.0}, "at least 0 and below 1"),
        ({"bound": -1.0}, "--bound must be positive. Received"),
        ({"excess": 1.0}, "above 1 and finite"),
        ({"depth": 0}, "--depth must be an integer"),
        ({"depths": ()}, "--depths must not be empty"),
        ({"depths": (2, 2)}, "holds 2 more than once. Received: 2,2"),
        ({"depths": (2, -2)}, "--depths must be .* Received: --depths=-2"),
        ({"remat": "squrt"}, "Did you mean 'sqrt'"),
    ],
)
def test_bad_value_is_an_error_that_names_flag_value_and_what_is_allowed(
    changes, message
):
    with pytest.raises(ValueError, match=message):
        Asked(**changes)


def test_bounds_are_inclusive_or_not_as_said():
    Asked(momentum=0.0, bound=math.inf, seed=0, units=1, depth=1)


def test_what_is_quick_is_what_was_said_to_be():
    assert Asked.quick({}) == {"rate": 1.0}


def test_a_check_of_its_own_sees_every_item():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Named(Settings):
        names: tuple[str, ...] = setting(("a", "b"), "Names.", check=seen.append)

    Named()
    assert seen == ["a", "b"]
