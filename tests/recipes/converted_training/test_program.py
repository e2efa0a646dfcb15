import pytest

from recipes.converted_training.__main__ import EXPERIMENT, claims, ratio
from recipes.converted_training.summary import accuracies, best_runs, level
from tests.marks import on_torch


def run(version, seed, rate, accuracy, regularization="none", fitted=1.0):
    known = {"version": version, "seed": seed, "rate": rate, "accuracy": accuracy}
    known |= {"regularization": regularization, "train_accuracy": fitted}
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
    assert accuracies(ARM, "normalized") == [90.0, 80.0]
    assert best_runs(ARM, "normalized")[1] == (0.1, "none")
    assert accuracies(ARM, "converted") == [84.0, 86.0]
    assert best_runs(ARM, "converted")[1] == (0.2, "none")
    assert ratio(ARM) == pytest.approx(0.75)


def test_one_seed_at_its_best_rate():
    one = {**ARM, "runs": ARM["runs"][:4]}
    assert accuracies(one, "converted") == [84.0]
    assert accuracies(one, "normalized") == [90.0]


def test_trials_at_one_rate_differ_in_what_regularizes():
    runs = [
        run("normalized", 0, 0.1, 0.9),
        run("converted", 0, 0.1, 0.9),
        run("normalized", 0, 0.1, 0.8, "all"),
        run("converted", 0, 0.1, 0.92, "all"),
        run("normalized", 1, 0.1, 0.7),
        run("converted", 1, 0.1, 0.94, "all"),
    ]
    arm = {**ARM, "runs": runs}
    assert accuracies(arm, "normalized") == [90.0, 70.0]
    assert accuracies(arm, "converted") == [92.0, 94.0]


def level_of(before, after, fitted=(1.0, 1.0)):
    runs = []
    for seed, pair in enumerate(zip(before, after, strict=True)):
        for version, x, y in zip(
            ("normalized", "converted"), pair, fitted, strict=True
        ):
            runs.append(run(version, seed, 0.1, x, fitted=y))
    return level({"model": "Net", "runs": runs})


def test_level_is_what_loses_no_more_than_chance():
    assert level_of([0.99, 0.97, 0.98], [0.98, 0.96, 0.98])["level"]
    lost = level_of([0.99, 0.99, 0.98], [0.95, 0.95, 0.94])
    assert not lost["level"] and "fits as well, 100.0" in lost["why"]
    lost = level_of([0.99, 0.99, 0.98], [0.95, 0.95, 0.94], fitted=(1.0, 0.96))
    assert "fits less, 96.0 for 100.0 %" in lost["why"]
    # One seed shows no chance.
    assert not level_of([0.99], [0.98])["level"]
    assert level_of([0.98], [0.98])["level"]
    assert "not learned" in level_of([0.1, 0.1], [0.1, 0.1])["why"]


def test_claims_need_networks_that_have_learned():
    assert [claim.held for claim in claims({"arms": [ARM]})] == [True, True, True]
    untrained = {
        **ARM,
        "runs": [run(version, 0, 0.1, 0.1) for version in ("normalized", "converted")],
    }
    assert not claims({"arms": [untrained]})[0].held


@on_torch
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(EXPERIMENT, "--quick", "--samples=64")
    (arm,) = content["arms"]
    assert set(arm["step_seconds"]) == {"normalized", "converted"}


@on_torch
def test_images_with_all_regularization_run_and_resume(check_experiment):
    content = check_experiment(
        EXPERIMENT,
        "--quick",
        "--samples=64",
        "--models=ResNet20",
        "--scheme=normalizer_free",
        "--size=8",
        "--regularizations=none,all",
    )
    (arm,) = content["arms"]
    assert {r["regularization"] for r in arm["runs"]} == {"none", "all"}


def test_pixels_cannot_be_repeated_in_parts():
    with pytest.raises(ValueError, match="--size=20. Pass 16"):
        EXPERIMENT.settings(size=20)
