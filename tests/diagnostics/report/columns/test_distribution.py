"""Kurtosis and histograms, against SciPy and NumPy."""

import keras
import numpy as np
import pytest
import scipy.stats

import fixinit
from fixinit.diagnostics import diagnose
from fixinit.diagnostics.report.columns.distribution import BINS, Counting, Kurtosis
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

DRAWS = {
    "gaussian": lambda rng: 3 + rng.normal(size=(64, 9)),
    "laplace": lambda rng: 1e25 * rng.laplace(size=(64, 9)),
    "two values": lambda rng: 1e-25 * rng.choice([-1, 1], size=(64, 9)),
    "relu": lambda rng: np.maximum(rng.normal(size=(8, 3, 3, 8)), 0),
}


def kurtosis(x):
    observed = Kurtosis()(keras.ops.convert_to_tensor(x))
    return Kurtosis().columns(keras.ops.convert_to_numpy(observed), 1.0)["kurtosis"]


@pytest.mark.every_backend
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_kurtosis_is_that_of_scipy(draw):
    x = draw(np.random.default_rng(0)).astype("float32")
    expected = scipy.stats.kurtosis(x.astype("float64"), axis=None, fisher=False)
    assert kurtosis(x) == pytest.approx(expected, rel=1e-4)


@pytest.mark.every_backend
@pytest.mark.parametrize("value", [0.0, 0.1, -7e20])
def test_no_kurtosis_without_a_spread(value):
    assert np.isnan(kurtosis(np.full((8, 3), value, "float32")))


@pytest.mark.every_backend
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_histogram_is_that_of_numpy(draw):
    x = draw(np.random.default_rng(0)).astype("float32")
    observed = Counting()(keras.ops.convert_to_tensor(x))
    found = Counting().columns(keras.ops.convert_to_numpy(observed), 1.0)["histogram"]
    expected, edges = np.histogram(x.astype("float64"), bins=BINS)
    np.testing.assert_allclose(found.edges, edges, rtol=1e-5, atol=1e-6 * x.max())
    # A number on an edge may fall to either side in float32.
    assert np.abs(found.shares * x.size - expected).sum() <= 2
    assert found.shares.sum() == pytest.approx(1)


def test_histogram_of_scaled_numbers_is_that_of_the_numbers():
    x = np.float32([0, 1, 2, 3])
    observed = keras.ops.convert_to_numpy(Counting()(keras.ops.convert_to_tensor(x)))
    found = Counting().columns(observed, 4.0)["histogram"]
    assert (found.edges[0], found.edges[-1]) == (0, 0.75)


@pytest.mark.every_backend
def test_activations_and_gradients_of_a_model():
    inputs = keras.Input((6,))
    outputs = keras.layers.Activation("tanh", name="tanh")(inputs)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(32, 6)).astype("float32") for _ in range(2))
    found = diagnose(model, x, y, loss="mse", measures=("kurtosis", "histograms"))
    row, h = found.layers[-1], np.tanh(x.astype("float64"))
    gradient = 2 * (h - y) / h.size
    for name, values in (("", h), ("gradient_", gradient)):
        expected = scipy.stats.kurtosis(values, axis=None, fisher=False)
        assert row[f"{name}kurtosis"] == pytest.approx(expected, rel=1e-4)
        histogram = row[f"{name}histogram"]
        ends = (values.min(), values.max())
        assert histogram.edges[[0, -1]] == pytest.approx(ends, rel=1e-5)


@pytest.mark.every_backend
def test_every_block_of_a_stack_has_its_own():
    measures = ("kurtosis", "histograms", "float8_e4m3", "flops")
    x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    columns = []
    for stacked in (False, True):
        model = fixinit.models.ResidualMLP(
            3, 16, scheme="unnormalized", stacked=stacked, seed=0
        )
        found = diagnose(model, x, np.arange(8), measures=measures)
        columns.append([dict(row.asked) for row in found.blocks])
    assert len({row["kurtosis"] for row in columns[0]}) == 3
    for plain, stacked in zip(*columns, strict=True):
        for name, value in plain.items():
            if isinstance(value, fixinit.diagnostics.Histogram):
                np.testing.assert_allclose(stacked[name].edges, value.edges, rtol=1e-4)
            else:
                assert stacked[name] == pytest.approx(value, rel=1e-3), name
