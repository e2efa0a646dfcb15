"""Shares beyond and below number formats, against conversions by ml_dtypes."""

import keras
import numpy as np
import pytest

from fixinit.diagnostics import diagnose
from fixinit.diagnostics.report.columns.formats import FORMATS, FormatShares
from tests.marks import ON_TORCH

pytestmark = ON_TORCH

DTYPES = {
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float8_e4m3": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
}


def converted(name, x):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, DTYPES[name], DTYPES[name]))
    with np.errstate(over="ignore"):
        return x.astype(dtype).astype("float64")


def numbers(name):
    """Magnitudes over the whole range, and those next to both thresholds."""
    rng = np.random.default_rng(0)
    spread = 2.0 ** rng.uniform(-30, 127.9, size=4000)
    limits = FORMATS[name]
    edges = [limits.overflow]
    if limits.underflow > 1e-37:  # backends may flush smaller ones
        edges.append(limits.underflow)
    near = [
        np.nextafter(np.float32(v), np.float32(s)) for v in edges for s in (0, 3e38)
    ]
    x = np.concatenate([spread, edges, near, [0.0]]).astype("float32")
    return x * rng.choice([-1, 1], size=x.shape).astype("float32")


@pytest.mark.every_backend
@pytest.mark.parametrize("name", FORMATS)
def test_shares_are_those_of_a_conversion(name):
    x = numbers(name)
    y = converted(name, x)
    observed = FormatShares(name)(keras.ops.convert_to_tensor(x))
    overflow, underflow = keras.ops.convert_to_numpy(observed) * x.size
    assert round(overflow) == np.count_nonzero(~np.isfinite(y)) > 0
    assert round(underflow) == np.count_nonzero((y == 0) & (x != 0))
    assert name == "bfloat16" or round(underflow) > 0


@pytest.mark.parametrize("name", FORMATS)
def test_thresholds_are_the_nearest_floats(name):
    limits = FORMATS[name]
    at = np.float32([limits.overflow])
    below = np.nextafter(at, np.float32(0))
    assert not np.isfinite(converted(name, at))
    assert np.isfinite(converted(name, below))
    zero = np.float64([limits.underflow])
    assert converted(name, zero) == 0 < converted(name, zero * 1.01)


@pytest.mark.every_backend
def test_shares_of_activations_and_gradients_of_a_model():
    inputs = keras.Input((4,))
    layer = keras.layers.Rescaling(1e4, name="large")
    model = keras.Model(inputs, layer(inputs))
    x = np.float32([[1, 2, 6.6, 7], [0, -7, 1, 1e-9]])
    y = np.zeros_like(x)
    # Loss sum(h^2) / 8: gradients h / 4, and of inputs 1e4 times as large.
    found = diagnose(model, x, y, loss="mse", measures=("float16", "float8_e4m3"))
    row = found.layers[-1]
    assert row["float16_overflow"] == 3 / 8
    assert row["float8_e4m3_overflow"] == 6 / 8
    assert row["float16_underflow"] == 0
    assert row["gradient_float16_overflow"] == 0
    assert row["gradient_float8_e4m3_overflow"] == 6 / 8
    assert found.layers[0]["float16_underflow"] == 1 / 8
    assert found.layers[0]["float8_e4m3_underflow"] == 1 / 8


@pytest.mark.every_backend
def test_infinities_are_overflow():
    x = keras.ops.convert_to_tensor(np.float32([np.inf, -np.inf, 1, np.nan]))
    for name in FORMATS:
        assert keras.ops.convert_to_numpy(FormatShares(name)(x)).tolist() == [0.5, 0]
