import numpy as np
import pytest

from recipes.effective_depth import laws


def test_laws():
    blocks = np.arange(1, 6)
    shares = [1 / (blocks + 2), 1 / (blocks + 4)]
    slope, error, constant = laws.law(shares)
    assert (slope, constant) == (pytest.approx(1), pytest.approx(3))
    assert error == pytest.approx(0)
    # A branch of the size of its shortcut, twice as large: 4 parts of 5.
    assert laws.expected_last([[0.1, 0.5]], 2.0) == pytest.approx([0.8])
