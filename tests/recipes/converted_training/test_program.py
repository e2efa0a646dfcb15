import pytest

from recipes.converted_training.__main__ import EXPERIMENT, accuracies, claims, ratio


def run(version, seed, rate, accuracy):
    known = {"version": version, "seed": seed, "rate": rate, "accuracy": accuracy}
    return {**known, "step_seconds": []}


ARM = {
    "model": "Net",
    "runs": [
        run("normalized", 0, 0.1, 0.9),
        run("converted", 0, 0.1, 0.5),
        run("normalized", 0, 0.2, 0.1),
        run("converted", 0, 0.2, 0.84),
        run("normalized", 1, 0.1, 0.8),
        run("converted", 1, 0.2, 0.86),
    ],
    "step_seconds": {"normalized": 0.2, "converted": 0.15},
}


def test_each_version_at_its_own_best_rate():
    assert accuracies(ARM, "normalized") == ([90.0, 80.0], 0.1)
    assert accuracies(ARM, "converted") == ([84.0, 86.0], 0.2)
    assert ratio(ARM) == pytest.approx(0.75)


def test_one_seed_at_its_best_rate():
    one = {**ARM, "runs": ARM["runs"][:4]}
    assert accuracies(one, "converted") == ([84.0], 0.2)
    assert accuracies(one, "normalized") == ([90.0], 0.1)


def test_claims_need_networks_that_have_learned():
    assert [claim.held for claim in claims({"arms": [ARM]})] == [True, True]
    untrained = {
        **ARM,
        "runs": [run(version, 0, 0.1, 0.1) for version in ("normalized", "converted")],
    }
    assert not claims({"arms": [untrained]})[0].held


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(EXPERIMENT, "--quick", "--samples=64")
    (arm,) = content["arms"]
    assert set(arm["step_seconds"]) == {"normalized", "converted"}
