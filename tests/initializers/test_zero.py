import keras
import numpy as np
import pytest
import scipy.linalg

from fixinit import theory
from fixinit.initializers import Stacked, ZerO


def draw(shape, **arguments):
    return keras.ops.convert_to_numpy(ZerO(**arguments)(shape))


@pytest.mark.parametrize("shape", [(6, 6), (6, 4)])
def test_identity_where_it_fits(shape):
    np.testing.assert_array_equal(draw(shape), np.eye(*shape))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 2), (3, 5), (4, 8), (7, 16)])
def test_hadamard_where_it_widens(inputs, outputs):
    rows = 2 ** int(np.ceil(np.log2(outputs)))
    expected = scipy.linalg.hadamard(rows)[:inputs, :outputs] / np.sqrt(rows)
    found = draw((inputs, outputs))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if rows == outputs:
        np.testing.assert_allclose(found @ found.T, np.eye(inputs), atol=1e-6)


@pytest.mark.parametrize(
    ("space", "centre"), [((3,), (1,)), ((4, 1), (1, 0)), ((3, 2, 5), (1, 0, 2))]
)
@pytest.mark.parametrize("channels", [(4, 4), (5, 3), (2, 4)])
def test_convolutions_hold_it_at_the_centre(space, centre, channels):
    kernel = draw((*space, *channels))
    np.testing.assert_array_equal(kernel[centre], draw(channels))
    assert np.count_nonzero(kernel) == np.count_nonzero(draw(channels))


@pytest.mark.every_backend
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_signals_stay_as_they_are(dimension):
    kind = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    x = np.random.default_rng(0).normal(size=(2, *(4,) * dimension, 6))
    x = x.astype("float32")
    layer = kind[dimension - 1](6, 3, padding="same", kernel_initializer=ZerO())
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x, atol=1e-6)
    layer = kind[dimension - 1](
        6, 3, padding="same", groups=3, kernel_initializer=ZerO(groups=3)
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x, atol=1e-6)


def test_depthwise_convolutions_keep_every_channel():
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    layer = keras.layers.DepthwiseConv2D(
        3, padding="same", depthwise_initializer=ZerO(depthwise=True)
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), x, atol=1e-6)


def test_stacked_rows_are_equal():
    rows = keras.ops.convert_to_numpy(Stacked(ZerO())((3, 2, 4)))
    np.testing.assert_array_equal(rows, np.stack([draw((2, 4))] * 3))


def test_is_made_again():
    again = keras.initializers.get(keras.initializers.serialize(ZerO(2, True)))
    assert (again.groups, again.depthwise) == (2, True)


@pytest.mark.parametrize("shape", [(4, 4), (3, 3, 4, 2), (2, 4)])
def test_moments_are_those_of_the_kernel(shape):
    mean, variance = theory.weight_moments(ZerO(), shape)
    kernel = draw(shape)
    assert mean == pytest.approx(kernel.mean())
    assert variance == pytest.approx(kernel.var(), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"groups": 0}, (2, 2), "`groups` must be"),
        ({"depthwise": 1}, (2, 2), "`depthwise` must be True or False"),
        ({}, (4,), "kernels \\(inputs, outputs\\) of dense layers"),
        ({}, (1,) * 6, "one to three spatial axes"),
        ({}, (None, 2), "`shape` must have known sizes"),
        ({"groups": 3}, (3, 2, 4), "`groups` must be that of the layer"),
    ],
)
def test_refuses(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        ZerO(**arguments)(shape)
