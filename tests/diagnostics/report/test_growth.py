import math

import numpy as np
import pytest

from fixinit.diagnostics import fit_growth

INDEX = np.arange(33)
NOISE = np.exp(0.05 * np.random.default_rng(0).normal(size=33))


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.1, 1.98, 4.0])
def test_exponential_growth_and_its_rate(rate):
    growth = fit_growth(3.0 * rate**INDEX * NOISE)
    assert growth.kind == "exponential"
    low, high = growth.interval
    # The steps' noise is that of two neighbours: the mean's, sqrt(2) 0.05 / 32.
    assert low < rate < high and high / low < 1.1
    assert growth.total == pytest.approx(rate**32, rel=0.3)


def test_interval_covers_the_rate_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        steps = rng.normal(np.log(1.5), 0.2, size=20)
        low, high = fit_growth(np.exp(np.cumsum([0, *steps]))).interval
        covered += low < 1.5 < high
    # Five standard errors of a share of 0.95 among 400.
    assert abs(covered / 400 - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 400)


def test_linear_growth_and_its_slope():
    growth = fit_growth(2.0 * (1 + 0.5 * INDEX) * NOISE)
    assert growth.kind == "linear" and growth.slope == pytest.approx(0.5, rel=0.1)


def test_polynomial_growth_and_its_exponent():
    growth = fit_growth((1.0 + INDEX) ** 2 * NOISE)
    assert growth.kind == "polynomial" and growth.slope == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("values", [NOISE, (1 + 1 / 32) ** INDEX])
def test_below_a_factor_e_growth_is_bounded(values):
    growth = fit_growth(values)
    assert growth.kind == "bounded" and not growth.leaves


def test_noise_leaves_it_open_or_shows_an_exponential():
    rng = np.random.default_rng(2)
    steps = rng.normal(np.log(1.5), 0.5, size=(200, 8))
    kinds = [fit_growth(np.exp(np.cumsum([0, *row]))).kind for row in steps]
    # A standard error of the total, 0.5 sqrt(8) = 1.4, below log(1.5) 8 = 3.2.
    assert kinds.count("bounded") < 15 and kinds.count("polynomial") < 15
    # 74 on average over seeds, with a standard deviation of 7 from seed to seed.
    assert kinds.count("exponential") > 40 and kinds.count("linear") < 5


def test_a_large_exponential_that_slows_down_by_chance_is_one():
    rng = np.random.default_rng(3)
    steps = rng.normal(np.log(1.6), 0.4, size=(50, 100))
    kinds = [fit_growth(np.exp(np.cumsum([0, *row]))).kind for row in steps]
    # A total of e^47, with a standard error of 4.
    assert kinds.count("exponential") > 47


def test_an_interval_with_no_growth_in_it_is_not_exponential():
    logs = [0, 4, 4, 4, 4, 12, 12, 12, 16, 6]
    growth = fit_growth(np.exp(logs))
    assert growth.interval[0] < 1 and growth.kind == "unknown"
    assert math.isfinite(growth.rate) and math.isnan(growth.slope)


def test_stages_start_at_levels_of_their_own():
    stage = np.array([2.0, 3.0, 4.0, 5.0, 6.0])
    values = np.concatenate([stage] * 4)
    growth = fit_growth(values, segments=np.repeat(range(4), 5))
    assert growth.kind == "linear" and growth.slope == pytest.approx(0.5)


def test_blocks_at_which_formats_are_left():
    growth = fit_growth(2.0 ** np.arange(11), peak_ratio=4.0)
    assert growth.leaves["float32"]["mean_square"] == 128
    assert growth.leaves["float16"]["mean_square"] == 16
    # 4 * 2^(l/2) reaches 2^16 at 28.
    assert growth.leaves["float16"]["activation"] == 28
    shrinking = fit_growth(0.25 ** np.arange(11))
    # 2^-14, below which float16 loses digits.
    assert shrinking.leaves["float16"] == {"mean_square": 7, "activation": 14}


@pytest.mark.parametrize(
    "values", [[], [1.0, 2.0], [1, 2, 4, 0], [1, 2, 4, math.inf], [1, 2, math.nan, 4]]
)
def test_too_little_to_fit_is_unknown(values):
    assert fit_growth(values).kind == "unknown"
