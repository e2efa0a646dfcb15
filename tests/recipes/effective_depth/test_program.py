import keras
import numpy as np

import fixinit
from recipes.effective_depth import __main__ as effective_depth
from recipes.effective_depth.__main__ import EXPERIMENT
from tests.marks import on_torch


@on_torch
def test_runs_resumes_and_claims(check_experiment):
    flags = ("--quick", "--schemes=batch_norm,scaled_residual", "--num_blocks=3")
    content = check_experiment(EXPERIMENT, *flags)
    assert len(content["claims"]) == 6
    norm, scaled = content["arms"]
    assert np.shape(norm["initial_share"]) == (2, 3)
    assert "gamma_share" in norm and "gamma_share" not in scaled


def test_gamma_is_that_of_the_last_normalization_of_the_last_block():
    model = fixinit.models.ResidualMLP(
        3, 8, scheme="batch_norm", input_shape=(4,), stacked=True, seed=0
    )
    effective_depth.with_gamma(model, 2.0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    (stack,) = (v for v in model.layers if isinstance(v, fixinit.layers.Stack))
    gammas = [
        keras.ops.convert_to_numpy(v)
        for block in stack.unstack()
        for v in block.trainable_variables
        if v.name == "gamma"
    ]
    assert [g.mean() for g in gammas] == [1, 1, 1, 1, 1, 2]
    found = fixinit.diagnostics.effective_depth(model, x, training=True, gradient=False)
    before = fixinit.models.ResidualMLP(
        3, 8, scheme="batch_norm", input_shape=(4,), stacked=True, seed=0
    )
    before = fixinit.diagnostics.effective_depth(
        before, x, training=True, gradient=False
    )
    # ReLU hands the factor on: twice the branch, and four times its variance.
    ratio = found.variance_ratio[-1] / before.variance_ratio[-1]
    assert 1.5 < ratio < 4
    np.testing.assert_allclose(found.share[:-1], before.share[:-1], rtol=1e-5)
