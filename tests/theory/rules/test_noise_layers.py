"""Rules for noise, against layers that are run."""

import keras
import pytest

import fixinit
from tests.marks import on_torch
from tests.theory.measuring import SIZE, check, he, network

layers = keras.layers


@on_torch
@pytest.mark.parametrize(
    "noise",
    [
        lambda: layers.Dropout(0.3),
        lambda: layers.GaussianDropout(0.3),
        lambda: layers.SpatialDropout2D(0.3),
        lambda: layers.GaussianNoise(0.5),
        lambda: layers.AlphaDropout(0.2),
        lambda: fixinit.layers.StochasticDepth(0.7, level="sample"),
        lambda: fixinit.layers.ShakeDrop(0.7, level="sample"),
        fixinit.layers.CReLU,
    ],
    ids=lambda noise: noise().name,
)
@pytest.mark.parametrize(
    "training", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_noise(noise, training):
    make = network(he(), layers.ReLU, noise, layers.GlobalAveragePooling2D)
    check(make, (SIZE, SIZE, 16), 0.04, training=training, seeds=8)
