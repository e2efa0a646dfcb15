import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixinit.initializers import ScaledResidual, residual_scale

SCALES = ["inverse_sqrt", "inverse", "decreasing", 0.1]


def test_scales():
    assert residual_scale("inverse_sqrt", 16) == 0.25
    assert residual_scale("inverse", 16) == 1 / 16
    assert residual_scale(0.3, 16) == 0.3
    assert residual_scale("decreasing", 16, 0) == 1 / math.log(2)
    assert residual_scale("decreasing", 16, 3) == 1 / (2 * math.log(5))


@given(num_branches=st.integers(1, 10**5))
def test_inverse_sqrt_bounds_the_growth_by_e(num_branches):
    growth = (1 + residual_scale("inverse_sqrt", num_branches) ** 2) ** num_branches
    # Rounding of the power near its limit.
    assert growth < math.e * (1 + 1e-9)


def test_decreasing_has_a_finite_sum_of_squares():
    squares = [residual_scale("decreasing", 10**5, b) ** 2 for b in range(10**5)]
    # The integral test bounds the tail beyond l by 1 / log(l).
    tail = sum(squares[10**4 :])
    assert tail < 1 / math.log(10**4) - 1 / math.log(10**5) + 1e-3


@pytest.mark.parametrize("scale", SCALES)
def test_standard_deviation(scale):
    initializer = ScaledResidual(9, scale, branch=4, seed=0)
    kernel = keras.ops.convert_to_numpy(initializer((128, 128)))
    expected = residual_scale(scale, 9, 4) * math.sqrt(2 / 128)
    assert kernel.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * 128**2))


@pytest.mark.parametrize("scale", SCALES)
def test_config_makes_the_same_initializer(scale):
    initializer = ScaledResidual(9, scale, 2, "fan_out", "uniform", seed=3)
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert again.get_config() == initializer.get_config()
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again((3, 4))),
        keras.ops.convert_to_numpy(initializer((3, 4))),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_branches": 0}, "num_branches"),
        ({"num_branches": 3, "branch": 3}, "branch.*smaller"),
        ({"num_branches": 3, "branch": -1}, "branch"),
        ({"num_branches": 3, "scale": "inverse_sqr"}, "Did you mean 'inverse_sqrt'"),
        ({"num_branches": 3, "scale": 0}, "positive"),
        ({"num_branches": 3, "scale": -0.5}, "positive"),
        ({"num_branches": 3, "scale": math.inf}, "finite"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaledResidual(**arguments)
