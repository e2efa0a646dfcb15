import keras
import numpy as np
import pytest

import fixinit
from fixinit import theory
from fixinit.layers import PerLocationNormalization


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def expected(x, coordinate, scale, axis):
    if coordinate is not None:
        shape = [*x.shape]
        shape[axis] = 1
        size = np.ones(shape, x.dtype)
        if coordinate == "average":
            axes = tuple(range(1, x.ndim))
            size = size * np.sqrt(np.mean(x**2, axis=axes, keepdims=True))
        x = np.concatenate([x, scale * size], axis)
    return x / np.sqrt(np.mean(x**2, axis=axis, keepdims=True))


@pytest.mark.parametrize("coordinate", ["one", "average", None])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5, 4), -1), ((2, 4, 4, 3), -1), ((2, 3, 4, 4), 1)]
)
def test_every_location_has_a_mean_square_of_one(shape, axis, coordinate):
    x = 3 * np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = PerLocationNormalization(coordinate, 0.5, axis)
    outputs = numpy(layer(x))
    np.testing.assert_allclose(np.mean(outputs**2, axis=axis), 1, rtol=1e-5)
    np.testing.assert_allclose(outputs, expected(x, coordinate, 0.5, axis), rtol=1e-5)
    assert layer.compute_output_shape(shape) == outputs.shape


def test_vectors_are_one_location_each():
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    outputs = numpy(PerLocationNormalization()(x))
    np.testing.assert_allclose(outputs, expected(x, "one", 1.0, -1), rtol=1e-5)
    with pytest.raises(ValueError, match="one location each"):
        PerLocationNormalization("average")(x)


def test_zeros_are_finite():
    x = np.zeros((2, 4, 3), "float32")
    for coordinate in ("one", None):
        outputs = numpy(PerLocationNormalization(coordinate)(x))
        assert np.all(np.isfinite(outputs))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_takes_large_numbers(policy):
    x = np.full((2, 3, 4), 3e4, "float32")
    outputs = PerLocationNormalization(None, dtype=policy)(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy[6:]
    np.testing.assert_allclose(numpy(keras.ops.cast(outputs, "float32")), 1, rtol=0.01)


def test_saves_in_a_model_of_open_sizes(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, PerLocationNormalization("average", 2.0)(inputs))
    assert model.output_shape == (None, None, None, 4)
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


def test_stays_when_a_model_is_converted():
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3)(PerLocationNormalization(name="data")(x))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    free = fixinit.convert(keras.Model(inputs, x), "unnormalized", seed=0)
    assert isinstance(free.get_layer("data"), PerLocationNormalization)


@pytest.mark.parametrize("coordinate", ["one", "average", None])
def test_prediction(coordinate):
    layer = PerLocationNormalization(coordinate, name="data")
    model = keras.Sequential([keras.Input((4, 4, 63)), layer])
    row = theory.predict(model, input_variance=4.0)["data"]
    assert row.mean_square == pytest.approx(1)
    x = 2 * np.random.default_rng(0).normal(size=(256, 4, 4, 63)).astype("float32")
    y = numpy(model(x)).reshape(256, -1)
    gram = y @ y.T / y.shape[1]
    apart = gram[~np.eye(256, dtype=bool)].mean()
    # The sum over channels is not quite what is expected of it: 1 / 63.
    assert row.correlation == pytest.approx(apart, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"coordinate": "two"}, "`coordinate` must be one of"),
        ({"scale": 0}, "`scale` must be a positive number"),
        ({"axis": 0}, "`axis` must be an"),
    ],
)
def test_refusals(arguments, says):
    with pytest.raises(ValueError, match=says):
        PerLocationNormalization(**arguments)
