import pytest

from recipes.dead_units.__main__ import EXPERIMENT


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(
        EXPERIMENT, "--quick", "--networks=he_plain,fixup_residual", "--num_blocks=2"
    )
    assert [claim["text"][:12] for claim in content["claims"]] == [
        "With He init",
        "Fixup and lo",
        "Units get st",
        "What a good ",
    ]
    # Two activations for each of two blocks, and one before the head.
    assert all(len(arm["initial_cosine"]) == 5 for arm in content["arms"])
