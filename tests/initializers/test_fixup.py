import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fixinit
from fixinit.initializers import Fixup


def draw(initializer, shape):
    return keras.ops.convert_to_numpy(initializer(shape, dtype="float32"))


@pytest.mark.parametrize(
    ("branch_depth", "exponent"), [(2, -1 / 2), (3, -1 / 4), (4, -1 / 6)]
)
@pytest.mark.parametrize("distribution", ["untruncated_normal", "truncated_normal"])
def test_standard_deviation_is_the_papers(branch_depth, exponent, distribution):
    shape = (3, 3, 32, 64)
    kernel = draw(Fixup(54, branch_depth, distribution=distribution, seed=1), shape)
    expected = np.sqrt(2 / (9 * 64)) * 54**exponent
    # The sample deviation of n normal samples has relative error 1 / sqrt(2n):
    # five of those.
    assert kernel.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * kernel.size))


@pytest.mark.parametrize(
    ("mode", "fan"), [("fan_in", 9 * 8), ("fan_out", 9 * 64), ("fan_avg", 9 * 36)]
)
def test_fan_mode(mode, fan):
    kernel = draw(Fixup(1, mode=mode, seed=0), (3, 3, 8, 64))
    bound = 5 / np.sqrt(2 * kernel.size)
    assert kernel.std() == pytest.approx(np.sqrt(2 / fan), rel=bound)


@given(num_branches=st.integers(1, 10**6), branch_depth=st.integers(2, 12))
def test_scale_is_he_times_the_square_of_rule_two(num_branches, branch_depth):
    factor = num_branches ** (-1 / (2 * branch_depth - 2))
    assert Fixup(num_branches, branch_depth).scale == pytest.approx(2 * factor**2)


@given(
    num_branches=st.integers(1, 1000),
    branch_depth=st.integers(2, 5),
    mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
    distribution=st.sampled_from(["truncated_normal", "untruncated_normal", "uniform"]),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=10, deadline=None)
def test_config_makes_the_same_initializer(
    num_branches, branch_depth, mode, distribution, seed
):
    initializer = Fixup(num_branches, branch_depth, mode, distribution, seed)
    config = keras.initializers.serialize(initializer)
    again = keras.initializers.deserialize(config)
    assert again.get_config() == initializer.get_config()
    np.testing.assert_array_equal(draw(again, (2, 3)), draw(initializer, (2, 3)))


@pytest.mark.parametrize("shape", [(5,), (1, 1), (3, 1, 1), (1, 1, 1, 1), (1,) * 5])
def test_unusual_shapes(shape):
    assert draw(Fixup(3, seed=0), shape).shape == shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype):
    kernel = Fixup(3, seed=0)((4, 4), dtype=dtype)
    assert keras.backend.standardize_dtype(kernel.dtype) == dtype


@pytest.mark.parametrize("num_branches", [0, -1, 2.5, None, True])
def test_refuses_num_branches(num_branches):
    with pytest.raises(ValueError, match="num_branches.*at least 1"):
        Fixup(num_branches)


def test_refuses_a_branch_of_one_layer_and_says_what_to_use():
    with pytest.raises(ValueError, match="branch_depth.*at least 2.*Zeros"):
        Fixup(10, branch_depth=1)


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode"):
        Fixup(10, mode="fan_sideways")


@pytest.mark.parametrize(
    "make",
    [
        lambda **axes: Fixup(16, mode="fan_in", seed=0, **axes),
        lambda **axes: fixinit.initializers.ScaledResidual(16, seed=0, **axes),
    ],
)
def test_einsum_dense_says_over_which_axes_fans_are_counted(make):
    """Heads: each output sums up 64 numbers, not 64 x 4 as Keras counts shapes."""
    layer = keras.layers.EinsumDense(
        "abc,cde->abde", (None, 4, 128), kernel_initializer=make()
    )
    layer.build((None, 8, 64))
    axes = {"input_axes": [0], "output_axes": [1, 2]}
    expected = make(**axes)((64, 4, 128))
    np.testing.assert_array_equal(
        *map(keras.ops.convert_to_numpy, (layer.kernel, expected))
    )
    # 32,768 samples: five standard errors of a variance.
    variance = float(keras.ops.var(layer.kernel))
    scale = make().scale
    assert variance == pytest.approx(scale / 64, rel=5 * (2 / 32768) ** 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distribution": 3}, "`distribution` must be a string"),
        ({"num_branches": 10**400}, "`num_branches` must be an integer"),
        ({"num_branches": True}, "`num_branches` must be an integer"),
        ({"seed": -1}, "`seed` must be"),
        ({"input_axes": ["x"]}, r"`input_axes\[0\]` must be an integer"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        Fixup(**{"num_branches": 4, **arguments})


def test_takes_integers_of_numpy():
    initializer = Fixup(np.int64(7), np.int32(3), seed=np.uint8(5))
    assert json.loads(json.dumps(initializer.get_config())) == initializer.get_config()
    np.testing.assert_array_equal(
        draw(initializer, (4, 4)), draw(Fixup(7, 3, seed=5), (4, 4))
    )
