"""Rules for activation layers, against layers that are run."""

import keras
import pytest

from fixinit import theory
from tests.theory.measuring import check, network

layers = keras.layers


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "activation",
    [
        layers.ReLU,
        lambda: layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2),
        layers.LeakyReLU,
        layers.PReLU,
        lambda: layers.ELU(0.5),
        layers.Softmax,
        lambda: layers.Activation("glu"),
        lambda: layers.Activation("log_softmax"),
        lambda: layers.Dense(512, activation=layers.LeakyReLU(0.3)),
        lambda: layers.Dense(512, kernel_initializer="identity"),
        lambda: layers.Dense(512, kernel_initializer="orthogonal"),
        lambda: layers.Dense(512, bias_initializer="ones"),
    ],
    ids=lambda make: make().name,
)
def test_activation_layers(activation):
    first = lambda: layers.Dense(512, kernel_initializer="lecun_normal")  # noqa: E731
    make = network(first, activation, shape=(64,))
    check(make, (64,), 0.03)


def test_sparsemax_sums_to_one():
    model = keras.Sequential([keras.Input((512,)), layers.Activation("sparsemax")])
    row = theory.predict(model, input_variance=2.0).layers[-1]
    assert row.mean == pytest.approx(1 / 512)
    assert row.mean_square > 10 / 512**2
