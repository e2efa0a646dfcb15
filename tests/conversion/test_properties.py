"""Promises that hold for any residual network, on networks that hypothesis builds."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import ops

import fixinit
from fixinit.conversion.kinds import NORMALIZATIONS
from tests.conversion import graphs

# Without `unnormalized`, which doubles the variance, and `batch_norm`.
FREE = ("fixup", "scaled_residual", "skip_init", "rezero", "normalized_sum")
SEARCH = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
}


def data(model, size=8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, *model.input_shape[1:])).astype("float32")


def converted(model, scheme):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fixinit.convert(model, scheme, seed=0)


@pytest.mark.slow
@settings(max_examples=20, **SEARCH)
@given(graphs.plans, st.sampled_from(FREE), st.integers(0, 2))
def test_converts_trains_and_is_saved(tmp_path_factory, plan, scheme, rank):
    model = graphs.network(plan, blocks=3, width=8, rank=rank, size=4)
    free = converted(model, scheme)
    assert not [x for x in free._flatten_layers() if isinstance(x, NORMALIZATIONS)]
    assert free.output_shape == model.output_shape
    x = data(model)
    path = tmp_path_factory.mktemp("saved") / "free.keras"
    free.save(path)
    loaded = keras.models.load_model(path)
    outputs = [ops.convert_to_numpy(m(x)) for m in (loaded, free)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    before = [ops.convert_to_numpy(v) for v in free.trainable_variables]
    # Adam, whose steps do not get lost in the rounding of a multiplier that is 1.
    free.compile(keras.optimizers.Adam(1e-3), "mse", run_eagerly=True)
    for _ in range(4):
        assert np.isfinite(free.train_on_batch(x, data(model)[::-1]))
    after = [ops.convert_to_numpy(v) for v in free.trainable_variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    # Behind zeros the first step moves the zeros alone, the later ones all the rest.
    still = [
        v.path for v, m in zip(free.trainable_variables, moved, strict=True) if not m
    ]
    assert not still


def homogeneous(plan):
    """The plan without what does more or less to larger signals."""
    kept = ("relu", "leaky_relu")
    return all(unit.activation in kept and not unit.gate for unit in plan)


def check_variance(plan, scheme, rank, blocks, width):
    model = graphs.network(plan, blocks, width, rank, size=4)
    free = converted(model, scheme)
    x = data(model, size=16)
    ratio = np.mean(ops.convert_to_numpy(free(x)) ** 2) / np.mean(x**2)
    assert 0.3 <= ratio <= 3


@settings(max_examples=4, **SEARCH)
@given(graphs.plans.filter(homogeneous), st.sampled_from(FREE), st.integers(0, 1))
def test_keeps_the_variance(plan, scheme, rank):
    check_variance(plan, scheme, rank, blocks=12, width=64)


@pytest.mark.slow
@settings(max_examples=8, **SEARCH)
@given(graphs.plans.filter(homogeneous), st.sampled_from(FREE), st.integers(0, 2))
def test_keeps_the_variance_of_100_blocks(plan, scheme, rank):
    check_variance(plan, scheme, rank, blocks=100, width=128)
