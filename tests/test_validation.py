"""The shared checks: what they let through, and what their errors say."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest

from fixinit import _validation as v

NAN, INF = math.nan, math.inf
NO_NUMBERS = [
    NAN,
    INF,
    -INF,
    np.float32("nan"),
    "1",
    True,
    np.bool_(True),
    None,
    1j,
    [],
]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 10**400, np.array([1.0, 2.0])])
def test_numbers_are_finite_and_real(value):
    with pytest.raises(ValueError, match="`rate` must be a finite number. Received"):
        v.check_number("rate", value)


@pytest.mark.parametrize("value", [2, np.float32(2), np.int64(2), Fraction(4, 2)])
def test_numbers_become_floats(value):
    assert type(v.check_number("rate", value)) is float


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1.0, "2", 10**400, 2**63, 0, -1])
def test_counts_are_integers_in_a_range(value):
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1"):
        v.check_positive_int("depth", value)


@pytest.mark.every_backend
def test_tensors_of_floats_are_no_integers():
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 1"):
        v.check_positive_int("depth", keras.ops.ones(()))


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3)])
def test_counts_become_integers(value):
    assert type(v.check_positive_int("depth", value)) is int


def test_an_error_says_the_largest_where_it_is_exceeded():
    with pytest.raises(ValueError, match="at least 1 and at most 2147483647"):
        v.check_size("units", 2**31)
    assert v.check_size("units", 2**31 - 1) == 2**31 - 1


def test_errors_are_short():
    for value in ([1] * 10**5, 10**5000):
        with pytest.raises(ValueError) as error:
            v.check_number("rate", value)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("value", [1, 0, "no", None, NAN, np.array(True)])
def test_truth_values_are_bools(value):
    with pytest.raises(ValueError, match="`plain` must be True or False"):
        v.check_bool("plain", value)
    assert v.check_bool("plain", np.True_) is True


def test_choices_are_equal_in_kind():
    allowed = ("auto", True, False)
    assert v.check_choice("stacked", True, allowed) is True
    assert type(v.check_choice("stacked", np.str_("auto"), allowed)) is str
    for value in (1, 0, "Auto", None, np.array(["auto"]), []):
        with pytest.raises(ValueError, match="`stacked` must be one of"):
            v.check_choice("stacked", value, allowed)
    with pytest.raises(ValueError, match="Did you mean 'auto'"):
        v.check_choice("stacked", "autos", allowed)


@pytest.mark.parametrize(
    "value", [(0,), (-1, 2), (1.5,), "12", 3, None, (2**63,), [True]]
)
def test_shapes_hold_sizes(value):
    with pytest.raises(ValueError, match="`shape` must be a tuple"):
        v.check_shape("shape", value, (8, 3))
    assert v.check_shape("shape", [np.int64(2), None], (8, 3)) == (2, None)
    with pytest.raises(ValueError, match="`shape` must have known sizes"):
        v.check_known_shape("shape", (2, None), (8, 3))


@pytest.mark.parametrize(
    "value", [[NAN], "x", [[1.0], [1.0, 2.0]], [True], [2.0], None]
)
def test_arrays_are_finite_and_in_range(value):
    with pytest.raises(ValueError, match=r"`c` must be an array .* in \[-1, 1\]"):
        v.check_numbers("c", value, -1.0, 1.0)
    assert v.check_numbers("c", [0, 1], -1.0, 1.0).dtype == "float64"


@pytest.mark.parametrize(
    "value", [None, "he", 3, {"class_name": "x", "config": {}}, {}]
)
def test_initializers_are_those_of_keras(value):
    with pytest.raises(ValueError, match="`kernel` must be an initializer of Keras"):
        v.check_initializer("kernel", value)
    found = v.check_initializer("kernel", "he_normal")
    assert isinstance(found, keras.initializers.HeNormal)


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, True, "1"])
def test_seeds_have_32_bits(value):
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        v.check_seed("seed", value)
    assert v.check_seed("seed", np.int64(2**32 - 1)) == 2**32 - 1
    assert v.check_seed("seed", None) is None
