import pytest

from recipes.depth_as_time.__main__ import EXPERIMENT


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(
        EXPERIMENT,
        "--quick",
        "--starts=inverse_sqrt",
        "--factors=2",
        "--depths=2,3",
        "--epochs=1",
        "--units=8",
    )
    (claim,) = content["claims"]
    assert claim["text"].startswith("With steps of 1/√L depth is no time")
