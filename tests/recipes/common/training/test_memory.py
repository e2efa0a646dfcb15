import numpy as np
import pytest

from recipes.common.training import memory
from recipes.common.training.memory import PeakMemory


def test_peak_is_that_of_the_stretch():
    if PeakMemory().megabytes() is None:
        pytest.skip("this system cannot reset the peak")
    peak = PeakMemory()
    before = peak.megabytes()
    np.ones(2**25).sum()  # 256 MB, freed at once
    large = peak.megabytes()
    assert large > before + 200
    assert PeakMemory().megabytes() < large - 200


def test_none_where_the_peak_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_PROC", tmp_path / "nowhere")
    assert PeakMemory().megabytes() is None
