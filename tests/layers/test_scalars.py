import keras
import numpy as np
import pytest

from fixinit.layers import ScalarBias, ScalarMultiplier

SHAPES = [(1, 1), (3, 4), (1, 5, 1), (2, 5, 3), (1, 4, 4, 1), (2, 3, 3, 3, 2)]


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_bias_adds_one_scalar(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ScalarBias(keras.initializers.Constant(0.5))
    np.testing.assert_allclose(to_numpy(layer(x)), x + 0.5, rtol=1e-6)
    assert layer.count_params() == 1
    assert layer.compute_output_shape(shape) == shape


@pytest.mark.parametrize("shape", SHAPES)
def test_multiplier_multiplies_by_one_scalar(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ScalarMultiplier(keras.initializers.Constant(0.5))
    np.testing.assert_allclose(to_numpy(layer(x)), 0.5 * x, rtol=1e-6)
    assert layer.count_params() == 1
    assert layer.compute_output_shape(shape) == shape


@pytest.mark.parametrize("layer_class", [ScalarBias, ScalarMultiplier])
def test_starts_as_the_identity(layer_class):
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    np.testing.assert_array_equal(to_numpy(layer_class()(x)), x)


@pytest.mark.parametrize("layer_class", [ScalarBias, ScalarMultiplier])
@pytest.mark.parametrize(
    ("policy", "compute"),
    [
        ("mixed_float16", "float16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float16", "float16"),
    ],
)
def test_half_precision(layer_class, policy, compute):
    layer = layer_class(dtype=policy)
    outputs = layer(np.ones((2, 3), "float32"))
    assert keras.backend.standardize_dtype(outputs.dtype) == compute


@pytest.mark.parametrize("layer_class", [ScalarBias, ScalarMultiplier])
def test_refuses_integer_images(layer_class):
    with pytest.raises(ValueError, match="uint8.*scale"):
        layer_class()(np.ones((1, 2, 2, 3), "uint8"))


@pytest.mark.parametrize("layer_class", [ScalarBias, ScalarMultiplier])
def test_config_makes_the_same_layer(layer_class):
    layer = layer_class(keras.initializers.Constant(0.25), name="scalar")
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("layer_class", [ScalarBias, ScalarMultiplier])
def test_passes_masks_on(layer_class):
    model = keras.Sequential([keras.layers.Masking(), layer_class()])
    assert model(np.zeros((1, 2, 3), "float32")) is not None
    assert layer_class().supports_masking
