import keras
import numpy as np
import pytest

import fixinit
from fixinit.diagnostics import BlockStatistics, block_statistics
from tests.marks import on_torch

X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")


def test_measures_what_the_blocks_put_out():
    model = fixinit.models.ResNet1D(
        (1, 1), (4, 8), scheme="unnormalized", input_shape=(8, 1), seed=0
    )
    x = X[..., None]
    measured = block_statistics(model, x)
    names = [layer.name for layer in model.layers]
    blocks = [n for n in names if "block" in n]
    taps = keras.Model(model.inputs, [model.get_layer(n).output for n in blocks])
    outputs = [keras.ops.convert_to_numpy(h) for h in taps(x)]
    for index, h in enumerate(outputs, start=1):
        variance = h.reshape(-1, h.shape[-1]).var(axis=0).mean()
        assert measured.variance[index] == pytest.approx(variance, rel=1e-4)
        assert measured.mean_square[index] == pytest.approx(
            np.square(h).mean(), rel=1e-4
        )
    assert BlockStatistics(model).names == ["input", *blocks]


@pytest.mark.every_backend
def test_channels_are_where_the_data_format_says():
    x = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype("float32")
    x += 3.0 * np.arange(3, dtype="float32")[:, None, None]
    inputs = keras.Input((3, 8, 8))
    h = keras.layers.AveragePooling2D(1, data_format="channels_first")(inputs)
    model = keras.Model(inputs, keras.layers.add([h, keras.layers.Dense(8)(h)]))
    outputs = keras.ops.convert_to_numpy(model(x))
    measured = block_statistics(model, x).variance
    expected = [h.var(axis=(0, 2, 3)).mean() for h in (x, outputs)]
    assert measured == pytest.approx(expected, rel=1e-4)
    diagnosis = fixinit.diagnostics.diagnose(model, x)
    assert diagnosis.blocks[0].variance == pytest.approx(expected[1], rel=1e-4)


@on_torch
def test_a_stack_that_is_called_twice_is_measured_twice():
    inputs = keras.Input((8,))
    block = fixinit.layers.ResidualBlock([keras.layers.Dense(8)])
    stack = fixinit.layers.Stack(block, 2, name="stack")
    first = stack(inputs)
    model = keras.Model(inputs, stack(keras.layers.Rescaling(100.0)(first)))
    measured = block_statistics(model, X).mean_square
    h = keras.ops.convert_to_numpy(stack(X))
    again = keras.ops.convert_to_numpy(stack(100.0 * h))
    assert measured[[2, 4]] == pytest.approx([np.mean(h**2), np.mean(again**2)])
    names = ["stack[0]", "stack[1]", "stack:2[0]", "stack:2[1]"]
    assert BlockStatistics(model).names[1:] == names
    diagnosis = fixinit.diagnostics.diagnose(model, X)
    assert diagnosis.curve("mean_square") == pytest.approx(measured)
    layers = [row.name for row in diagnosis.layers]
    assert "stack:2[1]/merge" in layers and len(set(layers)) == len(layers)


@pytest.mark.every_backend
def test_training_mode_normalizes_with_the_batch_and_changes_nothing():
    model = fixinit.models.ResidualMLP(
        4, 64, scheme="batch_norm", input_shape=(8,), seed=0
    )
    before = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    trained = block_statistics(model, 10 * X, training=True).mean_square
    tested = block_statistics(model, 10 * X, training=False).mean_square
    # With running averages at their start, test mode does not normalize.
    assert tested[-1] > 5 * trained[-1]
    for v, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(v.value), value)


def test_reports_overflow_as_infinity():
    model = fixinit.models.ResidualMLP(
        8, 16, scheme="unnormalized", input_shape=(8,), seed=0
    )
    with np.errstate(over="ignore"):
        measured = block_statistics(model, 1e19 * X)
    assert np.isinf(measured.mean_square[-1])


@pytest.mark.every_backend
def test_half_precision_is_measured_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    model = fixinit.models.ResidualMLP(2, 16, input_shape=(8,), seed=0)
    # Squares of 1,000 overflow float16.
    measured = block_statistics(model, 1000 * X)
    assert np.isfinite(measured.mean_square).all()


def test_refuses_integers_and_models_without_blocks():
    model = fixinit.models.ResidualMLP(2, 4, input_shape=(8,), seed=0)
    with pytest.raises(TypeError, match="floating-point.*int64"):
        block_statistics(model, np.ones((2, 8), "int64"))
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="no residual block"):
        BlockStatistics(other)
