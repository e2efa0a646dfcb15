import numpy as np
import pytest

from recipes.loss_surface import __main__ as loss_surface
from recipes.loss_surface.__main__ import EXPERIMENT, Settings


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    flags = ("--quick", "--units=8", "--num_samples=50", "--depths=1,2")
    content = check_experiment(EXPERIMENT, *flags, "--kinds=residual_batch_norm")
    assert len(content["claims"]) == 3
    assert np.shape(content["arms"][0]["losses"]) == (5, 5)


def test_all_kinds_give_claims():
    names = ("loss", "basin", "batch_basin", "negative_curvature", "sharpness")
    arm = dict.fromkeys((*names, "random_sharpness", "alignment"), 0.5)
    arm["num_weights"] = 1000
    arms = [
        arm | {"scheme": kind, "depth": depth}
        for kind in loss_surface.KINDS
        for depth in (4, 8)
    ]
    held = [claim.held for claim in loss_surface.claims({"arms": arms})]
    # The same at both depths: only the basin keeps its size.
    assert held == [False, False, True, False, False, False]


def test_even_numbers_of_points_are_refused():
    with pytest.raises(ValueError, match="num_points must be odd"):
        Settings(num_points=10)
