import keras
import numpy as np
import pytest

from fixinit.layers import CReLU, ResidualBlock, Stack


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 4), -1), ((2, 5, 3), 1), ((1, 4, 4, 2), -1), ((2, 3), 1)]
)
def test_halves_are_positive_and_negative_part(shape, axis):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = CReLU(axis)
    outputs = numpy(layer(x))
    positive, negative = np.split(outputs, 2, axis)
    np.testing.assert_array_equal(positive, np.maximum(x, 0))
    np.testing.assert_array_equal(positive - negative, x)
    assert layer.compute_output_shape(shape) == outputs.shape


def test_unknown_axes_stay_unknown():
    assert CReLU().compute_output_shape((None, None, 3)) == (None, None, 6)
    assert CReLU(1).compute_output_shape((None, None, 3)) == (None, None, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    outputs = CReLU(dtype=policy)(np.ones((2, 3), "float32"))
    compute = keras.backend.standardize_dtype(outputs.dtype)
    assert compute == policy.removeprefix("mixed_")


def test_config_makes_the_same_layer():
    config = CReLU(axis=1, name="crelu").get_config()
    assert CReLU.from_config(config).get_config() == config


@pytest.mark.parametrize("axis", [0, 2, -2, -3])
def test_refuses_axes_that_the_inputs_do_not_have(axis):
    with pytest.raises(ValueError, match=f"axis={axis}"):
        CReLU(axis)(np.ones((1, 2), "float32"))


def test_in_a_stack_of_blocks(tmp_path):
    block = ResidualBlock([CReLU(), keras.layers.Dense(4)])
    stack = Stack(block, 3)
    x = expected = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), stack])
    for layer in stack.unstack():
        expected = layer(expected)
    np.testing.assert_allclose(numpy(model(x)), numpy(expected), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(numpy(loaded(x)), numpy(model(x)))


@pytest.mark.parametrize("axis", [1.5, 0, True, "1", None, 10**400])
def test_refuses_what_is_no_axis(axis):
    with pytest.raises(ValueError, match="`axis` must be an"):
        CReLU(axis)


@pytest.mark.parametrize("axis", [5, -2])
def test_refuses_an_axis_that_the_inputs_do_not_have(axis):
    with pytest.raises(ValueError, match="`axis` of layer"):
        CReLU(axis)(np.ones((2, 3), "float32"))
