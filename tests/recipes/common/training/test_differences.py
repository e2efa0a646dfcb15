import math

import numpy as np
import pytest

from recipes.common.training.differences import Difference


def test_standard_error_is_that_of_samples():
    rng = np.random.default_rng(0)
    means = [
        Difference.of(rng.normal(1, 2, 5), rng.normal(0, 1, 3)) for _ in range(4000)
    ]
    measured = np.std([x.mean for x in means])
    expected = math.sqrt(4 / 5 + 1 / 3)
    # The standard error of a standard deviation of 4,000 samples is 1.1 %.
    assert measured == pytest.approx(expected, rel=0.05)
    squares = np.mean([x.error**2 for x in means])
    assert squares == pytest.approx(expected**2, rel=0.05)


def test_noise_makes_nothing_positive_and_nothing_small():
    assert Difference(3.0, 1.0).is_positive and Difference(3.0, 1.0).is_below(6.0)
    assert not Difference(3.0, 2.0).is_positive
    assert not Difference(0.0, 2.0).is_below(3.0)


def test_one_run_proves_nothing():
    difference = Difference.of([1.0], [0.0, 0.1])
    assert difference.mean == pytest.approx(0.95)
    assert not difference.is_positive and not difference.is_below(100.0)
