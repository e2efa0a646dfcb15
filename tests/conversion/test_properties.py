"""Promises that hold for any residual network, on networks that hypothesis builds."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import ops

from fixinit import graph, theory
from fixinit.conversion.kernels import assumed_square
from tests.conversion import graphs
from tests.conversion.helpers import NORMALIZATIONS, convert, normal, still

# Without `unnormalized`, which doubles the variance, and `batch_norm`.
FREE = ("fixup", "scaled_residual", "skip_init", "rezero", "normalized_sum")


def searched(*strategies, slow, evidence):
    """Runs a test on so many examples that Hypothesis draws: a few, and many."""

    def decorate(check):
        @pytest.mark.parametrize(
            "examples",
            [
                pytest.param(slow, marks=pytest.mark.slow),
                pytest.param(evidence, marks=pytest.mark.evidence),
            ],
        )
        def test(examples):
            search = settings(
                max_examples=examples,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                # Networks of 100 blocks take too long to look for smaller ones.
                phases=(Phase.explicit, Phase.generate),
            )
            search(given(*strategies)(check))()

        test.__doc__ = check.__doc__
        return test

    return decorate


@searched(graphs.plans, st.sampled_from(FREE), st.integers(0, 2), slow=5, evidence=20)
def test_converts_trains_and_is_saved(plan, scheme, rank):
    model = graphs.network(plan, blocks=3, width=8, rank=rank, size=4)
    free = convert(model, scheme)
    assert not [x for x in free._flatten_layers() if isinstance(x, NORMALIZATIONS)]
    assert free.output_shape == model.output_shape
    x = normal(8, *model.input_shape[1:])
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "free.keras")
        free.save(path)
        loaded = keras.models.load_model(path)
    outputs = [ops.convert_to_numpy(m(x)) for m in (loaded, free)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
    # Behind zeros the first step moves the zeros alone, the later ones all the rest.
    assert not still(free)
    assert all(np.all(np.isfinite(w)) for w in free.get_weights())


def keeps_signals(case):
    """Whether nothing does more or less to larger signals, or the scheme notices not.

    Half of every sum of `normalized_sum` is a branch, so that what a SiLU or a gate
    does to a signal that is a little too large comes back a hundred times: the
    converter warns.
    """
    plan, scheme = case
    kept = ("relu", "leaky_relu")
    homogeneous = all(unit.activation in kept and not unit.gate for unit in plan)
    return homogeneous or scheme != "normalized_sum"


cases = st.tuples(graphs.plans, st.sampled_from(FREE)).filter(keeps_signals)


def in_closed_form(model):
    """The mean square of what a model puts out, for inputs of mean square 1."""

    class Last(graph.Hook):
        def leave(self, call, outputs, control):
            self.mean_square = outputs[0].mean_square
            return outputs

    last = Last()
    theory.propagate(model, last, assume=assumed_square)
    return last.mean_square


def check_variance(case, rank, blocks, width):
    plan, scheme = case
    model = graphs.network(plan, blocks, width, rank, size=4)
    free = convert(model, scheme)
    if scheme == "normalized_sum" and blocks == 100:
        # Half of every sum is a draw. At width 128 the deviations of 100 of them add
        # up to a factor of about 3: the closed form, of infinite width, has none.
        ratio = in_closed_form(free)
    else:
        x = normal(16, *model.input_shape[1:])
        ratio = np.mean(ops.convert_to_numpy(free(x)) ** 2) / np.mean(x**2)
    assert 0.3 <= ratio <= 3
    return free


@searched(cases, st.integers(0, 1), slow=2, evidence=4)
def test_keeps_the_variance(case, rank):
    check_variance(case, rank, blocks=12, width=64)


@searched(cases, st.integers(0, 2), slow=1, evidence=10)
def test_keeps_the_variance_of_100_blocks(case, rank):
    check_variance(case, rank, blocks=100, width=128)


@searched(cases, slow=1, evidence=2)
def test_100_blocks_train(case):
    free = check_variance(case, rank=0, blocks=100, width=64)
    assert not still(free)
    assert all(np.all(np.isfinite(w)) for w in free.get_weights())
