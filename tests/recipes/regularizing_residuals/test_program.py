import numpy as np
import pytest

from recipes.common.data import datasets
from recipes.regularizing_residuals.__main__ import EXPERIMENT, Settings, vectors
from recipes.regularizing_residuals.claims import claims
from recipes.regularizing_residuals.networks import build


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(
        EXPERIMENT,
        "--quick",
        "--ways=none,stochastic_depth",
        "--num_blocks=2",
        "--epochs=1",
    )
    assert [claim["text"][:12] for claim in content["claims"]] == [
        "Networks tra",
        "Dropping and",
        "What droppin",
    ]
    assert np.shape([arm["lesioned"] for arm in content["arms"]]) == (2, 1, 2)


def test_decay_is_on_the_kernels_of_branches_alone():
    settings = Settings(units=8, num_blocks=2, weak_decay=0.25)
    data = vectors(datasets.load("digits"))
    model = build(settings, "weak_decay", data, seed=0)
    decayed = [v for v in model.trainable_variables if v.regularizer is not None]
    assert [v.path.split("/")[-3:-1] for v in decayed] == [
        [f"block{block}", f"weight{layer}"] for block in (1, 2) for layer in (1, 2)
    ]
    # Half of it: its gradient is the decay times the weight.
    assert float(decayed[0].regularizer(np.ones((2, 2)))) == pytest.approx(0.5)


def arm(way, test, lesioned, train=1.0, ratio=0.5, noise=0.1):
    return {
        "way": way,
        "train_accuracy": [train],
        "test_accuracy": [test - 0.01, test + 0.01],
        "lesioned": [[lesioned]],
        "ratios": [[ratio]],
        "initial_noise": [noise],
        "noise": [noise],
    }


def test_verdicts_follow_the_numbers():
    arms = [
        arm("none", 0.6, 0.5),
        arm("stochastic_depth", 0.7, 0.68, train=0.9),
        arm("shake_drop", 0.5, 0.5),
        arm("even", 0.5, 0.5),
        arm("shake_shake", 0.6, 0.5),
        arm("weak_decay", 0.5, 0.5, ratio=0.4),
        arm("strong_decay", 0.5, 0.5, ratio=0.45),
        arm("batch_norm_frozen", 0.5, 0.5, noise=0),
        arm("batch_norm_128", 0.6, 0.5, noise=0.1),
        arm("batch_norm_32", 0.7, 0.5, noise=0.2),
        arm("batch_norm_8", 0.8, 0.5, noise=0.4),
        arm("plain", 0.6, 0.1),
    ]
    held = [claim.held for claim in claims({"arms": arms})]
    # ShakeDrop's gap and accuracy, and the stronger decay's ratio, are made to fail.
    assert held == [True, True, False, False, True, False, True, True]
