import keras
import numpy as np
import pytest

from fixinit.layers import ChannelMultiplier, ResidualBlock, Stack

GAMMA = np.array([0.5, -2.0, 3.0], "float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3), -1), ((2, 5, 3), 2), ((2, 3, 4), 1), ((1, 2, 2, 3), 3)]
)
def test_multiplies_channels(shape, axis):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ChannelMultiplier(axis=axis)
    np.testing.assert_array_equal(numpy(layer(x)), x)
    layer.gamma.assign(GAMMA)
    expected = np.moveaxis(np.moveaxis(x, axis, -1) * GAMMA, -1, axis)
    np.testing.assert_allclose(numpy(layer(x)), expected, rtol=1e-6)
    assert layer.compute_output_shape(shape) == shape


def test_gradient_of_a_channel_is_the_product_over_the_others():
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    model = keras.Sequential([keras.Input((5, 3)), ChannelMultiplier()])
    # One step along the gradient of the mean of the outputs.
    model.compile(keras.optimizers.SGD(1.0), lambda y, out: keras.ops.mean(out))
    model.train_on_batch(x, x)
    expected = 1 - x.sum((0, 1)) / x.size
    np.testing.assert_allclose(numpy(model.weights[0]), expected, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_small_multipliers_keep_their_digits_in_half_precision(policy):
    layer = ChannelMultiplier(keras.initializers.Constant(1e-6), dtype=policy)
    y = layer(np.full((1, 3), 2.0**10, "float32"))
    assert keras.backend.standardize_dtype(y.dtype) in policy
    y = numpy(keras.ops.cast(y, "float32"))
    np.testing.assert_allclose(y, 1.024e-3, rtol=2**-8)


def test_is_saved_and_stacked(tmp_path):
    scale = ChannelMultiplier(keras.initializers.Constant(0.25), axis=1)
    block = ResidualBlock([keras.layers.Dense(4), scale])
    model = keras.Sequential([keras.Input((4,)), Stack(block, 3)])
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(again(x)), numpy(model(x)))
    assert type(scale).from_config(scale.get_config()).get_config() == (
        scale.get_config()
    )


def test_passes_masks_on():
    model = keras.Sequential([keras.layers.Masking(), ChannelMultiplier()])
    assert model(np.zeros((1, 2, 3), "float32")) is not None


@pytest.mark.parametrize(
    ("arguments", "inputs", "message"),
    [
        ({"axis": 0}, None, "`axis` must be an"),
        ({"initializer": "oens"}, None, "`initializer` must be an initializer"),
        ({"axis": 3}, np.ones((2, 3), "float32"), "`axis` of layer"),
        ({}, np.ones((2, 3), "uint8"), "uint8.*scale"),
    ],
)
def test_refuses(arguments, inputs, message):
    with pytest.raises(ValueError, match=message):
        ChannelMultiplier(**arguments)(inputs)
