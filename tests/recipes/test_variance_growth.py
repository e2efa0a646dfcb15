import numpy as np
import pytest

from recipes import variance_growth
from recipes.variance_growth import EXPERIMENT, Settings, measure


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(
        EXPERIMENT, "--quick", "--schemes=unnormalized,fixup", "--num_blocks=4"
    )
    assert [claim["text"][:14] for claim in content["claims"]] == [
        "Fully connecte",
        "Convolutional:",
        "With Fixup it ",
        "All of it can ",
    ]
    assert content["claims"][2]["held"]
    assert all(len(arm["mean_square"][0]) == 5 for arm in content["arms"])


def test_prediction_meets_measurement():
    settings = Settings(num_blocks=3, units=256, batch_size=64, draws=6)
    arm = measure(settings, "mlp", "unnormalized")
    measured = np.array(arm["mean_square"])
    predicted = np.array(arm["predicted_mean_square"])
    np.testing.assert_allclose(predicted / predicted[0], 2.0 ** np.arange(4))
    error = measured.std(axis=0, ddof=1) / np.sqrt(settings.draws)
    # Student's t of 5 degrees of freedom is beyond 8 once in 2,000 times.
    assert (np.abs(measured.mean(axis=0) - predicted) < 8 * error).all()


def test_error_of_the_prediction():
    arm = {"mean_square": [[1, 2, 4], [1, 4, 4]], "predicted_mean_square": [1, 3.3, 8]}
    assert variance_growth.prediction_error(arm) == pytest.approx(0.1)
