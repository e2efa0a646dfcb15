import keras
import numpy as np
import pytest
from keras import ops

from fixinit.diagnostics import gradient_correlation
from recipes.shattered_gradients import __main__ as shattered_gradients
from recipes.shattered_gradients.__main__ import EXPERIMENT, LINE, Settings
from recipes.shattered_gradients.networks import KINDS, Normalization


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    flags = ("--quick", "--kinds=looks_linear", "--depths=24,30", "--units=8")
    content = check_experiment(EXPERIMENT, *flags, "--num_seeds=2")
    assert [claim["held"] for claim in content["claims"]] == [True]


@pytest.mark.parametrize("lag1, held", [(0.0, 2), (0.7, 1)])
def test_claims_look_at_what_they_are_about(lag1, held):
    arm = {"depth": 50, "lag1": lag1, "lag1_error": 0.01, "coactive": 0.5}
    arms = [arm | {"scheme": kind, "peak_share": 0.9} for kind in KINDS]
    results = {"arms": arms, "config": {"num_seeds": 20}}
    made = list(shattered_gradients.claims(results))
    # White noise everywhere, or brown: what must differ does not.
    assert len(made) == 8 and sum(claim.held for claim in made) == held


@pytest.mark.slow
def test_normalization_shatters_and_its_absence_does_not():
    settings = Settings(units=100, num_seeds=4)
    found = {
        kind: shattered_gradients.measure(settings, kind, 24)
        for kind in ("feedforward", "feedforward_batch_norm", "looks_linear")
    }
    # Far beyond the standard errors, which are below 0.1.
    assert found["feedforward"]["lag1"] > 0.6
    assert abs(found["feedforward_batch_norm"]["lag1"]) < 0.3
    assert found["looks_linear"]["lag1"] == 1
    assert found["feedforward_batch_norm"]["coactive"] == pytest.approx(0.5, abs=0.1)


def test_derivative_holds_statistics_fixed():
    inputs = keras.Input((1,))
    normalize = Normalization("mean and variance")
    model = keras.Model(inputs, normalize(inputs))
    gradients = gradient_correlation(model, LINE).gradients
    np.testing.assert_allclose(gradients, 1 / LINE.std(), rtol=1e-4)
    outputs = ops.convert_to_numpy(model(LINE))
    assert outputs.mean() == pytest.approx(0, abs=1e-5)
    assert outputs.std() == pytest.approx(1, rel=1e-4)


def test_coactivity_counts_pairs_of_different_inputs():
    active = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    both = np.mean([active[i] & active[j] for i, j in pairs], axis=0).sum()
    expected = both / active.mean(axis=0).sum()
    assert shattered_gradients.coactive(active) == pytest.approx(expected)
    assert np.isnan(shattered_gradients.coactive(active[:, 2:]))


def test_peaks():
    flat, peak = np.ones(256), np.zeros(256)
    peak[7] = -3
    assert shattered_gradients.peak_share(flat) == pytest.approx(13 / 256)
    assert shattered_gradients.peak_share(peak) == 1
