import math

import numpy as np
import pytest

from recipes.path_lengths import __main__ as path_lengths
from recipes.path_lengths.__main__ import EXPERIMENT
from tests.marks import on_torch


@on_torch
def test_runs_resumes_and_claims(check_experiment):
    flags = ("--quick", "--schemes=scaled_residual", "--num_blocks=5", "--paths=20")
    content = check_experiment(EXPERIMENT, *flags)
    held = [claim["held"] for claim in content["claims"]]
    # Sixteen paths and the binomial hold in any network.
    assert held[:2] == [True, True] and len(held) == 5
    expanded, trained = content["arms"]
    assert (expanded["paths"], expanded["paths_through_first"]) == (16, 8)
    for name in ("sampled", "exact"):
        np.testing.assert_allclose(np.sum(trained[name], axis=1), 1, atol=1e-5)


def test_paths_are_counted():
    count, part = path_lengths.fraction_of_paths(54, 5, 17)
    assert count == 81_725_384_002_200
    assert part == pytest.approx(0.4537e-2, abs=5e-7)
    assert path_lengths.fraction_of_paths(4, 0, 4) == (16, 1)
    assert path_lengths.band(54) == (5, 17) and path_lengths.band(108) == (10, 34)


def test_shares_and_decay():
    arm = {
        "exact": [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]],
        "path_norm": [[1, 0.5, 0.25], [3, 1.5, 0.75]],
    }
    np.testing.assert_allclose(path_lengths.mean_length(arm, "exact"), [0.75, 1.25])
    factor, fit = path_lengths.decay(arm)
    assert math.isclose(factor, 0.5) and math.isclose(fit, 1)
    # 5/54 and 17/54 of two blocks: lengths 0 and 1.
    np.testing.assert_allclose(path_lengths.in_band(arm, "exact"), [0.75, 0.5])
