import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixinit.layers import ProjectionShortcut, ZeroPaddingShortcut


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@given(
    space=st.lists(st.integers(1, 6), max_size=3),
    channels=st.integers(1, 4),
    more=st.integers(0, 4),
    strides=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_zero_padding_subsamples_and_appends_zeros(space, channels, more, strides):
    strides = strides if space else 1
    shape = (2, *space, channels)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ZeroPaddingShortcut(channels + more, strides)
    outputs = to_numpy(layer(x))
    index = (slice(None), *(slice(None, None, strides),) * len(space))
    np.testing.assert_array_equal(outputs[..., :channels], x[index])
    assert not outputs[..., channels:].any()
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape(shape))
    assert not layer.weights


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 5, 1), (2, 5, 3), (1, 4, 5, 1), (1, 3, 4, 5, 2)]
)
@pytest.mark.parametrize("strides", [1, 2])
def test_projection_is_a_matrix_at_every_kept_position(shape, strides):
    strides = strides if len(shape) > 2 else 1
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ProjectionShortcut(6, strides)
    outputs = to_numpy(layer(x))
    index = (slice(None), *(slice(None, None, strides),) * (len(shape) - 2))
    kernel = to_numpy(layer.projection.kernel).reshape(shape[-1], 6)
    np.testing.assert_allclose(outputs, x[index] @ kernel, atol=1e-5)
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape(shape))


def test_unknown_space_stays_unknown():
    shape = (None, None, 8, 3)
    for layer in (ZeroPaddingShortcut(5, 2), ProjectionShortcut(5, 2)):
        assert layer.compute_output_shape(shape) == (None, None, 4, 5)


@pytest.mark.parametrize("layer_class", [ZeroPaddingShortcut, ProjectionShortcut])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(layer_class, policy):
    layer = layer_class(4, 2, dtype=policy)
    outputs = layer(np.ones((1, 4, 4, 2), "float32"))
    compute = keras.backend.standardize_dtype(outputs.dtype)
    assert compute == policy.removeprefix("mixed_")


@pytest.mark.parametrize(
    "layer",
    [
        ZeroPaddingShortcut(4, 2, name="pad"),
        ProjectionShortcut(4, 2, "glorot_uniform", use_bias=True, name="project"),
    ],
)
def test_config_makes_the_same_layer(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_zero_padding_refuses_to_drop_channels():
    with pytest.raises(ValueError, match="at least 8.*ProjectionShortcut"):
        ZeroPaddingShortcut(4)(np.ones((1, 2, 2, 8), "float32"))


@pytest.mark.parametrize("layer_class", [ZeroPaddingShortcut, ProjectionShortcut])
def test_refuses_to_stride_without_space(layer_class):
    with pytest.raises(ValueError, match="no spatial axis"):
        layer_class(4, strides=2)(np.ones((1, 3), "float32"))


@pytest.mark.parametrize("layer_class", [ZeroPaddingShortcut, ProjectionShortcut])
@pytest.mark.parametrize("arguments", [{"filters": 0}, {"filters": 4, "strides": 0}])
def test_refuses_arguments_out_of_range(layer_class, arguments):
    with pytest.raises(ValueError, match="at least 1"):
        layer_class(**arguments)


def test_projection_refuses_four_spatial_axes():
    with pytest.raises(ValueError, match="one to three spatial axes"):
        ProjectionShortcut(4).build((1, 2, 2, 2, 2, 3))


@pytest.mark.parametrize("use_bias", [1, "no", None, float("nan")])
def test_refuses_truth_values_that_are_none(use_bias):
    with pytest.raises(ValueError, match="`use_bias` must be True or False"):
        ProjectionShortcut(4, use_bias=use_bias)


def test_takes_numbers_of_numpy():
    layer = ProjectionShortcut(np.int64(4), np.int32(2), use_bias=np.bool_(True))
    assert json.dumps(keras.layers.serialize(layer))
    assert layer(np.ones((1, 4, 3), "float32")).shape == (1, 2, 4)
