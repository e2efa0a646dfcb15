import numpy as np
import pytest

from recipes.isometry import __main__ as isometry
from recipes.isometry.__main__ import EXPERIMENT, Settings
from recipes.isometry.edge import measure_edge
from recipes.isometry.networks import KINDS

SETTINGS = Settings(units=32, num_inputs=2)


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(
        EXPERIMENT,
        "--quick",
        "--kinds=looks_linear,fixup",
        "--depths=2",
        "--weight_variances=3",
    )
    assert len(content["claims"]) == 1
    assert "chi_1" in content["claims"][0]["text"]
    isometric = [arm for arm in content["arms"] if arm["scheme"] != "edge"]
    assert len(isometric) == 2
    for arm in isometric:
        np.testing.assert_allclose(arm["quantiles"], 1, atol=1e-4)


def test_all_kinds_give_claims():
    results = {
        "arms": [
            {
                "scheme": kind,
                "depth": 16,
                "smallest": 1.0,
                "median": 1.0,
                "largest": 1.0,
                "mean_square": 1.0,
                "quantiles": [1.0] * 5,
                "resolution": 1e-16,
            }
            for kind in KINDS
        ]
    }
    held = [claim.held for claim in isometry.claims(results)]
    # Ones everywhere: what shall be isometric is, what shall not be is as well.
    assert held == [False, False, False, False, True, True, False]


@pytest.mark.parametrize("kind", ["orthogonal_tanh", "delta_orthogonal"])
def test_orthogonal_networks_are_nearly_isometric(kind):
    measured = isometry.measure(SETTINGS, kind, depth=4)
    assert 0.8 < measured["quantiles"][1] <= measured["largest"] < 1.01


def test_measured_growth_is_that_of_the_theory():
    found = measure_edge(SETTINGS, weight_variance=3.0, bias_variance=0.2)
    # Eight layers of 32 x 32 squares: a relative error of 1/sqrt(32) each at most.
    assert found["chi"] == pytest.approx(found["predicted_chi"], rel=1 / np.sqrt(32))
