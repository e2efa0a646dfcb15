"""Rules for normalization layers, against layers that are run."""

import keras
import numpy as np
import pytest

from fixinit import theory
from tests.marks import on_torch
from tests.theory.measuring import SIZE, check, functional, he, network

layers = keras.layers


@on_torch
@pytest.mark.parametrize(
    "normalization",
    [
        layers.BatchNormalization,
        layers.LayerNormalization,
        lambda: layers.LayerNormalization(axis=(1, 2, 3)),
        lambda: layers.LayerNormalization(rms_scaling=True, scale=False),
        lambda: layers.LayerNormalization(axis=(1, 2, 3), rms_scaling=True),
        lambda: layers.GroupNormalization(8),
        lambda: layers.GroupNormalization(-1),
        layers.RMSNormalization,
        layers.UnitNormalization,
        lambda: layers.BatchNormalization(
            gamma_initializer=keras.initializers.RandomNormal(1, 0.5),
            beta_initializer=keras.initializers.Constant(0.3),
        ),
        lambda: layers.Rescaling(2.0, 0.5),
        lambda: layers.Normalization(mean=1.0, variance=4.0),
    ],
    ids=[
        "batch",
        "layer",
        "all",
        "layer by deviation",
        "all by deviation",
        "group",
        "instance",
        "rms",
        "unit",
        "drawn",
        "re",
        "n",
    ],
)
@pytest.mark.parametrize(
    "training", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_normalization(normalization, training):
    make = network(he(), layers.ReLU, normalization, he())
    check(make, (SIZE, SIZE, 16), 0.04, training=training, seeds=8)


@pytest.mark.parametrize(
    "normalization, following",
    [
        (layers.BatchNormalization, "relu"),
        (layers.LayerNormalization, "relu"),
        (lambda: layers.GroupNormalization(-1), "relu"),
        (layers.RMSNormalization, "tanh"),
        (layers.BatchNormalization, "max"),
    ],
    ids=["batch", "layer", "instance", "rms", "pooled"],
)
def test_normalization_between_nonlinearities(normalization, following):
    last = lambda: layers.Activation(following)  # noqa: E731
    if following == "max":
        last = lambda: layers.MaxPooling2D(3, 2, padding="same")  # noqa: E731
    make = network(he(), layers.ReLU, normalization, last)
    check(make, (SIZE, SIZE, 16), 0.03, training=True, seeds=4)


@pytest.mark.parametrize("normalization", ["BatchNormalization", "LayerNormalization"])
def test_a_normalized_rectified_gaussian_is_not_gaussian(normalization):
    units = 4096
    model = keras.Sequential(
        [
            keras.Input((units,)),
            layers.Dense(units, "relu", kernel_initializer="lecun_normal"),
            getattr(layers, normalization)(epsilon=1e-9),
            layers.ReLU(),
        ]
    )
    row = theory.predict(model, training=True).layers[-1]
    # relu((relu(z) - m) / s) for a standard normal z, with m and s those of relu(z).
    z, step = np.linspace(0, 12, 100_001, retstep=True)
    m, s = 1 / np.sqrt(2 * np.pi), np.sqrt(0.5 - 0.5 / np.pi)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    values = np.maximum((z - m) / s, 0)
    mean, square = (step * np.sum(density * v) for v in (values, values**2))
    assert row.mean == pytest.approx(mean, rel=1e-3)
    assert row.mean_square == pytest.approx(square, rel=1e-3)
    assert row.variance == pytest.approx(square - mean**2, rel=1e-3)


def test_normalization_of_rectified_zeros():
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, "relu", kernel_initializer="zeros"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )
    rows = theory.predict(model, training=True)
    assert [row.mean_square for row in rows][1:] == [0, 0, 0]


def test_channels_that_differ_stay_what_they_are_behind_batch_normalization():
    join = lambda a, b: layers.ReLU()(  # noqa: E731
        layers.BatchNormalization()(layers.Concatenate()([a, b]))
    )
    check(functional(join), (SIZE, SIZE, 16), 0.03, training=True, seeds=4)


@pytest.mark.parametrize("groups", [-1, 32])
def test_groups_of_channels_lose_their_mean_in_every_input(groups):
    middle = [f for _ in range(4) for f in (he(), layers.ReLU)]
    make = network(*middle, he(), lambda: layers.GroupNormalization(groups))
    row = theory.predict(make()).layers[-1]
    assert 0 < row.correlation < 1
    if groups == -1:
        # The average of a map over space is 0 in every input: no part is in common.
        assert row.variance == pytest.approx(row.mean_square)


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_instance_normalization_behind_correlated_maps(mean):
    middle = [f for _ in range(2) for f in (he(), layers.ReLU)]
    make = network(*middle, he(), lambda: layers.GroupNormalization(-1), he())
    check(make, (SIZE, SIZE, 16), 0.04, seeds=4, mean=mean)
