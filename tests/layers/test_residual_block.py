import keras
import numpy as np
import pytest

from fixinit.layers import (
    ProjectionShortcut,
    ResidualBlock,
    ScalarBias,
    ScaledAdd,
    ZeroPaddingShortcut,
)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def samples(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_adds_branch_to_shortcut():
    dense = keras.layers.Dense(3)
    x = samples(2, 3)
    outputs = to_numpy(ResidualBlock([dense])(x))
    np.testing.assert_allclose(outputs, x + to_numpy(dense(x)), rtol=1e-5)


def test_merge_and_activation():
    dense = keras.layers.Dense(3)
    block = ResidualBlock([dense], merge=ScaledAdd(0.5, 2.0), activation="relu")
    x = samples(2, 3)
    expected = np.maximum(0.5 * x + 2 * to_numpy(dense(x)), 0)
    np.testing.assert_allclose(to_numpy(block(x)), expected, atol=1e-6)


def test_shortcut_reads_through_the_shared_layers():
    bias = ScalarBias(keras.initializers.Constant(3.0))
    zero = keras.layers.Dense(2, kernel_initializer="zeros")
    x = samples(4, 2)
    for shared, shift in [(0, 0.0), (1, 3.0)]:
        bias, zero = (
            type(layer).from_config(layer.get_config()) for layer in (bias, zero)
        )
        block = ResidualBlock([bias, zero], shared_layers=shared)
        np.testing.assert_allclose(to_numpy(block(x)), x + shift, rtol=1e-6)


def test_plain_block_has_no_shortcut():
    dense = keras.layers.Dense(5)
    x = samples(2, 3)
    outputs = to_numpy(ResidualBlock([dense], plain=True)(x))
    np.testing.assert_allclose(outputs, to_numpy(dense(x)), rtol=1e-6)


@pytest.mark.parametrize("shortcut", [ZeroPaddingShortcut, ProjectionShortcut])
@pytest.mark.parametrize("shape", [(1, 6, 1), (1, 6, 4, 1), (1, 4, 4, 6, 2)])
def test_changes_shape_in_one_to_three_dimensions(shortcut, shape):
    convolution = getattr(keras.layers, f"Conv{len(shape) - 2}D")
    block = ResidualBlock(
        [convolution(4, 3, strides=2, padding="same", data_format="channels_last")],
        shortcut=[shortcut(4, 2)],
    )
    outputs = block(samples(*shape))
    assert tuple(outputs.shape) == tuple(block.compute_output_shape(shape))
    assert outputs.shape[-1] == 4


def test_training_reaches_the_layers_of_the_branch():
    block = ResidualBlock([keras.layers.Dropout(0.5, seed=0)])
    x = np.ones((1, 64), "float32")
    np.testing.assert_array_equal(to_numpy(block(x, training=False)), 2 * x)
    assert (to_numpy(block(x, training=True)) != 2 * x).any()


def test_variables_are_named_by_their_place():
    block = ResidualBlock([keras.layers.Dense(3, name="weight1")], name="block1")
    block.build((None, 3))
    assert block.variables[0].path == "block1/weight1/kernel"


def test_loaded_variables_keep_their_paths():
    block = ResidualBlock([keras.layers.Dense(3, name="weight1")], name="block1")
    block.build((None, 3))
    again = ResidualBlock.from_config(block.get_config())
    again.build((None, 3))
    assert [v.path for v in again.variables] == [v.path for v in block.variables]


def test_config_makes_the_same_block():
    block = ResidualBlock(
        [ScalarBias(), keras.layers.Dense(4)],
        shortcut=[ZeroPaddingShortcut(4)],
        merge=ScaledAdd(0.8, 0.6),
        activation="relu",
        shared_layers=1,
        name="block",
    )
    again = ResidualBlock.from_config(block.get_config())
    assert again.get_config() == block.get_config()


def test_refuses_an_empty_branch():
    with pytest.raises(ValueError, match="branch"):
        ResidualBlock([])


def test_refuses_to_share_the_whole_branch():
    with pytest.raises(ValueError, match="more of them than the shortcut shares"):
        ResidualBlock([keras.layers.Dense(3)], shared_layers=1)


def test_refuses_shapes_that_do_not_match():
    with pytest.raises(ValueError, match="different shapes.*ZeroPaddingShortcut"):
        ResidualBlock([keras.layers.Dense(4)])(samples(2, 3))


def test_a_layer_has_one_place():
    layer = keras.layers.Dense(4)
    with pytest.raises(ValueError, match="every layer once"):
        ResidualBlock([layer, layer])


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_the_default_merge_has_the_dtype_of_the_block(dtype):
    block = ResidualBlock([keras.layers.Dense(3, dtype=dtype)], dtype=dtype)
    outputs = block(keras.ops.ones((2, 3)))
    assert keras.backend.standardize_dtype(outputs.dtype) == block.compute_dtype


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"branch": ["x"]}, r"`branch\[0\]` must be a keras.Layer"),
        ({"branch": 3}, "`branch` must be a tuple"),
        ({"merge": "add"}, "`merge` must be a keras.Layer"),
        ({"plain": 1}, "`plain` must be True or False"),
        ({"activation": "rel"}, "`activation` must be an activation"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ResidualBlock(**{"branch": [keras.layers.Dense(3)], **arguments})
