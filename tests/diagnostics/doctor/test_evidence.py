"""Sizes of numbers, without overflow and without copies of the data."""

import tracemalloc

import numpy as np
import pytest

from fixinit.diagnostics.doctor.evidence import peak_of, rms

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values, peak, size",
    [
        (np.array([3e30, -4e30], "float32"), 4e30, 12.5**0.5 * 1e30),
        (np.array([-128, 0], "int8"), 128, 128 / 2**0.5),
        (np.array([[True, False]]), 1, 0.5**0.5),
        (np.array([-np.inf, 1.0]), np.inf, np.inf),
        (np.array([]), 0, 0),
    ],
)
def test_sizes(values, peak, size):
    assert peak_of(values) == pytest.approx(peak, rel=1e-6)
    assert rms(values) == pytest.approx(size, rel=1e-6)


def test_what_is_not_a_number_stays_one():
    assert np.isnan(rms(np.array([1.0, np.nan])))


def test_large_data_are_not_copied():
    values = RNG.normal(size=(4, 2**20)).astype("float32")
    expected = np.sqrt(np.mean(values.astype("float64") ** 2))
    tracemalloc.start()
    found = rms(values)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(expected, rel=1e-9)
    # Squares of all numbers in float64 are twice the data.
    assert most < 1.5 * values.nbytes
