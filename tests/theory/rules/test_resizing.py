"""Rules for resizing and padding, against layers that are run."""

import keras
import pytest

from fixinit import theory
from tests.marks import on_torch, rest_on_torch
from tests.theory.measuring import check, he, network

layers, ops = keras.layers, keras.ops


def of(function):
    def make():
        x = keras.Input((8, 8, 16))
        return keras.Model(x, function(he(activation="relu")()(x)))

    return make


@pytest.mark.every_backend
@rest_on_torch(
    "layer",
    [
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: layers.UpSampling2D((2, 3), interpolation="bicubic"),
        lambda: layers.Resizing(5, 13),
        lambda: layers.Resizing(12, 6, interpolation="nearest"),
        lambda: layers.Resizing(3, 3, antialias=True),
        lambda: layers.Resizing(4, 6, crop_to_aspect_ratio=True),
    ],
    quick=3,
)
def test_interpolation_of_maps_whose_neighbours_are_alike(layer):
    check(network(he(activation="relu"), layer), (8, 8, 16), 0.03)


def test_interpolation_of_independent_pixels():
    inputs = keras.Input((64, 64, 3))
    y = ops.image.resize(inputs, (128, 128))
    row = theory.predict(keras.Model(inputs, y)).layers[-1]
    # Weights of 1/4 and 3/4 on each axis, but at the borders.
    inside, border = (1 / 16 + 9 / 16), 1.0
    expected = (inside * 126 / 128 + border * 2 / 128) ** 2
    assert row.mean_square == pytest.approx(expected, rel=1e-4)


def test_a_crop_keeps_the_middle_of_an_image():
    inputs = keras.Input((9, 4, 1))
    framed = ops.pad(inputs, [[0, 0], [0, 0], [3, 2], [0, 0]])
    # Of 9 x 9 stay 9 x 4, from column 2: one of zeros, and three of numbers.
    y = layers.Resizing(9, 4, "nearest", crop_to_aspect_ratio=True)(framed)
    row = theory.predict(keras.Model(inputs, y)).layers[-1]
    assert row.mean_square == pytest.approx(3 / 4)


def test_long_axes_are_cut_in_their_ratio():
    inputs = keras.Input((1200, 800, 3))
    y = ops.image.resize(inputs, (1600, 200))
    row = theory.predict(keras.Model(inputs, y)).layers[-1]
    small = keras.Input((300, 400, 3))
    z = ops.image.resize(small, (400, 100))
    near = theory.predict(keras.Model(small, z)).layers[-1]
    assert row.mean_square == pytest.approx(near.mean_square, rel=0.01)


@on_torch
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]]),
        lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], constant_values=2.0),
        lambda x: ops.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], mode="reflect"),
        lambda x: ops.pad(x, [[0, 0], [1, 1], [0, 1], [0, 0]], mode="symmetric"),
        lambda x: ops.pad(x, [[0, 0], [0, 0], [0, 0], [2, 8]]),
        layers.ZeroPadding2D(((0, 3), (2, 1))),
        layers.Cropping2D(((0, 3), (2, 1))),
    ],
)
def test_padding(function):
    check(of(lambda x: layers.AveragePooling2D(2, 1)(function(x))), (8, 8, 16), 0.03)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: ops.pad(x, [[1, 0], [0, 0], [0, 0], [0, 0]]), "pads the batch"),
        (lambda x: ops.pad(x, 1, mode="reflect"), "pads the batch"),
        (layers.Resizing(4, 6, pad_to_aspect_ratio=True), "pad_to_aspect_ratio"),
    ],
)
def test_what_is_not_known_is_refused(function, message):
    with pytest.raises(theory.NoRuleError, match=message):
        theory.predict(of(function)())


def test_gradients_of_interpolation():
    inputs = keras.Input((64, 64, 3))
    y = layers.UpSampling2D(2, interpolation="bilinear")(inputs)
    first = theory.predict(keras.Model(inputs, y)).layers[0]
    # Four outputs read an input on each axis, with 1/4, 3/4, 3/4 and 1/4.
    assert first.gradient == pytest.approx((2 * (1 / 16 + 9 / 16)) ** 2, rel=0.03)
