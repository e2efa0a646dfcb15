"""What every scheme promises to every network."""

import dataclasses

import keras
import numpy as np
import pytest

import fixinit
from fixinit import schemes
from fixinit.layers import facts_of
from fixinit.schemes import Site
from tests.marks import rest_on_torch, slow_on_tensorflow

SCHEMES = [
    *(schemes.get(name) for name in schemes.names()),
    schemes.BatchNorm(zero_gamma=True),
    schemes.SkipInit(0.1),
    schemes.LayerScale(0.5),
    schemes.IDInit(0.5),
    schemes.NormalizedSum(0.6),
    *(
        schemes.ScaledResidual(scale, mode)
        for scale in ("inverse_sqrt", "inverse", "decreasing", 0.1)
        for mode in ("fixed", "trainable", "folded")
    ),
]


def site(**changes):
    return dataclasses.replace(Site(branch=1, num_branches=4), **changes)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_config_makes_an_equal_scheme(scheme):
    assert schemes.get(schemes.serialize(scheme)) == scheme


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_answers_are_new_keras_objects_at_every_call(scheme):
    for ask in (scheme.before_activation, scheme.before_weight, scheme.branch_end):
        first, second = ask(site()), ask(site())
        assert len(first) == len(second)
        assert all(isinstance(layer, keras.layers.Layer) for layer in first)
        assert not {id(layer) for layer in first} & {id(layer) for layer in second}
    assert scheme.merge(site()) is not scheme.merge(site())
    for place in (site(), Site(0, 9, role="head")):
        drawn = scheme.kernel_initializer(place)
        # None leaves it to the network.
        assert drawn is None or isinstance(drawn, keras.initializers.Initializer)


@slow_on_tensorflow
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_starts_at_identity_means_what_it_says(scheme):
    block = fixinit.models.ResidualMLP(
        2, 8, scheme=scheme, preactivation=False, seed=0
    ).get_layer("block1")
    # Positive inputs: the ReLU after the sum lets them pass.
    x = np.random.default_rng(0).uniform(1, 2, (16, 8)).astype("float32")
    # Bit for bit: some branches start at 1e-6.
    unchanged = np.array_equal(keras.ops.convert_to_numpy(block(x, training=True)), x)
    assert unchanged == scheme.starts_at_identity


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_prediction_has_the_input_first_and_one_value_a_block(scheme):
    prediction = scheme.predicted_variance(7, input_variance=2.5)
    assert prediction.shape == (8,)
    assert prediction[0] == 2.5
    # A normalized sum is smaller than the input here.
    assert np.all(np.diff(prediction[1:]) >= 0)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_prediction_refuses_no_branches(scheme):
    with pytest.raises(ValueError, match="num_branches"):
        scheme.predicted_variance(0)


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_normalizes_means_what_it_says(scheme):
    asked = (scheme.branch_start, scheme.before_activation, scheme.after_merge)
    found = [facts_of(layer) for ask in asked for layer in ask(site())]
    assert scheme.normalizes == any(facts.has_statistics for facts in found)


def is_measured(name):
    """Whether a block ends in the sum, of which `BlockStatistics` has the variance."""
    return not schemes.get(name).after_merge(site())


@rest_on_torch(
    ("scheme", "branch_depth"),
    [
        *((schemes.get(name), 2) for name in schemes.names() if is_measured(name)),
        (schemes.Unnormalized(), 1),
        (schemes.BatchNorm(), 3),
        (schemes.SkipInit(0.5), 2),
        (schemes.ScaledResidual("decreasing"), 2),
        (schemes.ScaledResidual(0.5, "folded"), 2),
        (schemes.ScaledResidual(0.5, "trainable"), 2),
    ],
    quick=3,
    ids=repr,
)
def test_prediction_agrees_with_measurement(scheme, branch_depth):
    num_blocks, seeds = 4, 10
    models = [
        fixinit.models.ResidualMLP(
            num_blocks, 128, branch_depth, scheme, input_shape=(128,), seed=seed
        )
        for seed in range(seeds)
    ]
    # Compiled once.
    statistics = fixinit.diagnostics.BlockStatistics(models[0])
    growth = []
    for seed, model in enumerate(models):
        models[0].set_weights(model.get_weights())
        x = np.random.default_rng(seed).normal(size=(256, 128)).astype("float32")
        measured = statistics(x, training=True)
        mean_square = measured.mean_square
        predicted = scheme.predicted_variance(num_blocks, float(mean_square[0]))
        growth.append(mean_square / predicted)
    mean = np.mean(growth, axis=0)
    # Kernels are drawn anew for every seed, so the seeds are independent: four
    # standard errors of their mean, and float rounding where nothing varies.
    error = np.std(growth, axis=0, ddof=1) / np.sqrt(seeds)
    assert np.all(np.abs(mean - 1) < 4 * error + 1e-5), (mean, error)
