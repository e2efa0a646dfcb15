import keras
import numpy as np
import pytest

from fixinit.layers import ScaledAdd


@pytest.mark.parametrize("scales", [(1, 1), (1, 0.5), (0.8, 0.6), (0, 2)])
def test_adds_with_fixed_factors(scales):
    rng = np.random.default_rng(0)
    x, f = rng.normal(size=(2, 3, 4)).astype("float32")
    outputs = keras.ops.convert_to_numpy(ScaledAdd(*scales)([x, f]))
    np.testing.assert_allclose(outputs, scales[0] * x + scales[1] * f, rtol=1e-5)


def test_keeps_half_precision():
    layer = ScaledAdd(0.8, 0.6, dtype="mixed_float16")
    outputs = layer([np.ones((1, 2), "float16")] * 2)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"


def test_config_makes_the_same_layer():
    layer = ScaledAdd(0.8, 0.6, name="sum")
    assert ScaledAdd.from_config(layer.get_config()).get_config() == layer.get_config()


def test_refuses_two_shapes():
    with pytest.raises(ValueError, match="one shape.*ProjectionShortcut"):
        ScaledAdd()([np.ones((1, 2)), np.ones((1, 3))])


@pytest.mark.parametrize("masks", [(0, 0), (0, 1), (0, None), (None, None)])
def test_masks_as_an_addition_does(masks):
    known = np.array([[True, False, False]]), np.array([[True, True, False]])
    masks = [None if index is None else known[index] for index in masks]
    x = np.ones((1, 3, 2), "float32")
    expected, got = (
        layer.compute_mask([x, x], masks) for layer in (keras.layers.Add(), ScaledAdd())
    )
    assert (expected is None) == (got is None)
    if got is not None:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (expected, got)))


def test_sizes_may_be_unknown():
    known, unknown = keras.Input((6, 3)), keras.Input((None, 3))
    assert ScaledAdd()([known, unknown]).shape == (None, 6, 3)
    assert ScaledAdd()([unknown, known]).shape == (None, 6, 3)
    assert ScaledAdd()([unknown, unknown]).shape == (None, None, 3)
    for other in (keras.Input((None, 4)), keras.Input((1, 3))):
        with pytest.raises(ValueError, match="one shape"):
            ScaledAdd()([unknown, other])


@pytest.mark.parametrize("factor", [float("nan"), "nan", "1", float("-inf"), True])
@pytest.mark.parametrize("name", ["shortcut_scale", "branch_scale"])
def test_refuses_factors_that_are_no_finite_numbers(name, factor):
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
        ScaledAdd(**{name: factor})


def test_refuses_one_tensor():
    with pytest.raises(ValueError, match="a shortcut and a branch"):
        ScaledAdd()(np.ones((2, 3), "float32"))
