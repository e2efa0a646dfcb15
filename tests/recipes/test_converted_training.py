import pytest

from recipes.converted_training import EXPERIMENT, accuracies, claims, ratio

ARM = {
    "model": "Net",
    "runs": [
        {"rate": 0.1, "accuracy": {"normalized": 0.9, "converted": 0.5}},
        {"rate": 0.1, "accuracy": {"normalized": 0.8, "converted": 0.6}},
        {"rate": 0.2, "accuracy": {"normalized": 0.1, "converted": 0.84}},
        {"rate": 0.2, "accuracy": {"normalized": 0.1, "converted": 0.86}},
    ],
    "step_seconds": {"normalized": 0.2, "converted": 0.15},
}


def test_each_version_at_its_own_best_rate():
    assert accuracies(ARM, "normalized") == ([90.0, 80.0], 0.1)
    assert accuracies(ARM, "converted") == ([84.0, 86.0], 0.2)
    assert ratio(ARM) == pytest.approx(0.75)


def test_claims_need_networks_that_have_learned():
    assert [claim.held for claim in claims({"arms": [ARM]})] == [True, True]
    untrained = {
        **ARM,
        "runs": [{"rate": 0.1, "accuracy": {"normalized": 0.1, "converted": 0.1}}],
    }
    assert not claims({"arms": [untrained]})[0].held


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(EXPERIMENT, "--quick", "--samples=64")
    (arm,) = content["arms"]
    assert set(arm["step_seconds"]) == {"normalized", "converted"}
