import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.initializers import IDInit, Stacked


def draw(shape, **arguments):
    arguments = {"noise": 0.0, **arguments}
    return keras.ops.convert_to_numpy(IDInit(**arguments)(shape))


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 4)])
def test_identity_padded_by_repetition(shape):
    found, period = draw(shape, gain=0.5), min(shape)
    for i, j in np.ndindex(*shape):
        assert found[i, j] == (0.5 if i % period == j % period else 0)
    # No unit is dead, and none that is read is left out.
    assert found.any(0).all() and found.any(1).all()


@pytest.mark.parametrize(
    ("space", "centre"), [((3,), (1,)), ((4, 1), (1, 0)), ((3, 2, 5), (1, 0, 2))]
)
def test_convolutions_hold_it_at_the_centre(space, centre):
    kernel = draw((*space, 2, 5))
    np.testing.assert_array_equal(kernel[centre], draw((2, 5)))
    assert np.count_nonzero(kernel) == 5


@pytest.mark.every_backend
def test_noise_parts_copies_and_nothing_else():
    kernel = keras.ops.convert_to_numpy(IDInit(seed=1)((64, 128)))
    exact = draw((64, 128))
    np.testing.assert_array_equal(kernel == 0, exact == 0)
    deviations = kernel[exact == 1] - 1
    # Of 128 numbers, four deviations; the float32 grid at 1 is 1.2e-7.
    assert np.std(deviations) == pytest.approx(1e-6, rel=4 / np.sqrt(2 * 128))
    again = keras.ops.convert_to_numpy(IDInit(seed=1)((64, 128)))
    np.testing.assert_array_equal(kernel, again)
    rows = keras.ops.convert_to_numpy(Stacked(IDInit(seed=1))((2, 64, 128)))
    np.testing.assert_allclose(rows[0], kernel, rtol=1e-6)
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize(("groups", "depthwise"), [(2, False), (1, True)])
def test_groups_keep_their_channels(groups, depthwise):
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    initializer = IDInit(1.0, 0.0, groups, depthwise)
    if depthwise:
        layer = keras.layers.DepthwiseConv1D(
            3, padding="same", depthwise_initializer=initializer
        )
    else:
        layer = keras.layers.Conv1D(
            4, 3, padding="same", groups=2, kernel_initializer=initializer
        )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x, atol=1e-6)


def test_is_made_again():
    config = keras.initializers.serialize(IDInit(0.5, 0.1, 2, True, seed=3))
    again = keras.initializers.get(config)
    assert again.get_config() == config["config"]


@pytest.mark.parametrize("shape", [(4, 4), (3, 3, 4, 2), (2, 4)])
def test_moments_are_those_of_the_kernel(shape):
    mean, variance = theory.weight_moments(IDInit(2.0, 0.0), shape)
    kernel = draw(shape, gain=2.0)
    assert mean == pytest.approx(kernel.mean())
    assert variance == pytest.approx(kernel.var(), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"groups": 0}, (2, 2), "`groups` must be"),
        ({"depthwise": 1}, (2, 2), "`depthwise` must be True or False"),
        ({"noise": -1}, (2, 2), "`noise` must be at least 0"),
        ({"gain": np.inf}, (2, 2), "`gain` must be"),
        ({}, (4,), "kernels \\(inputs, outputs\\) of dense layers"),
        ({"groups": 3}, (3, 2, 4), "`groups` must be that of the layer"),
    ],
)
def test_refuses(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        IDInit(**arguments)(shape)
