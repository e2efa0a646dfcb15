import itertools

import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import PathTotals, effective_depth, path_totals
from fixinit.diagnostics.paths.chain_gradient import ChainGradient, backward_only
from tests.marks import on_torch, slow_on_tensorflow

X = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")
Y = np.arange(6) % 3


def mlp(count, scheme="scaled_residual", **kwargs):
    options = {"input_shape": (8,), "classes": 3, "seed": 0} | kwargs
    return fixinit.models.ResidualMLP(count, 8, scheme=scheme, **options)


def every_path(model, count):
    """The total gradient of all paths of each length, one path at a time."""

    def switch(tensors, shortcut, control):
        factors = [control] * len(tensors)
        factors[shortcut] = 1 - control
        pairs = zip(tensors, factors, strict=True)
        return [backward_only(x, factor * x) for x, factor in pairs]

    gradient = ChainGradient(model, None, switch).on([X], Y)
    totals = np.zeros((count + 1, X.size))
    for mask in itertools.product([0, 1], repeat=count):
        totals[sum(mask)] += gradient(np.array(mask)).ravel()
    return totals


@on_torch
@pytest.mark.parametrize("count, stacked", [(3, False), (4, True)])
def test_totals_are_the_sums_over_all_paths(count, stacked):
    model = mlp(count, stacked=stacked)
    expected = every_path(model, count)
    whole = expected.sum(axis=0)
    found = path_totals(model, X, Y)
    np.testing.assert_allclose(
        found.norm, np.linalg.norm(expected, axis=1), rtol=1e-4, atol=1e-5
    )
    shares = expected @ whole / (whole @ whole)
    np.testing.assert_allclose(found.share, shares, atol=1e-5)


@on_torch
def test_shares_of_blocks_and_of_lengths_have_the_same_mean():
    model = mlp(4, stacked=True)
    totals = path_totals(model, X, Y)
    depth = effective_depth(model, X, Y).gradient_depth
    assert totals.length @ totals.share == pytest.approx(depth, abs=1e-5)


def test_projections_and_post_activations():
    model = fixinit.models.ResNet1D(
        (1, 1), (4, 8), scheme="batch_norm", input_shape=(8, 1), seed=0, shortcut="B"
    )
    found = path_totals(model, X[..., None])
    assert found.share.sum() == pytest.approx(1, abs=1e-5)
    assert found.length.tolist() == [0, 1, 2]


def test_branches_without_weight_carry_nothing():
    # SkipInit starts every branch at 0.
    found = path_totals(mlp(3, "skip_init"), X)
    np.testing.assert_allclose(found.share, [1, 0, 0, 0], atol=1e-6)


@slow_on_tensorflow
@pytest.mark.every_backend
def test_nothing_changes_and_new_weights_are_seen(untouched):
    model = mlp(2, "batch_norm", dropout_rate=0.5, stacked=True)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.build(model.trainable_variables)
    measure = PathTotals(model)
    with untouched(model):
        before = measure(X, Y)
    head = model.get_layer("head").kernel
    head.assign(2 * head)
    assert (measure(X, Y).norm != before.norm).all()


def test_refuses_gradients_that_vanish():
    # Fixup's head starts at 0.
    with pytest.raises(ValueError, match="a head that starts at zero"):
        path_totals(mlp(2, "fixup"), X, Y)
