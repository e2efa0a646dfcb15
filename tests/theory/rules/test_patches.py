"""The rule for patches, against patches that are cut out."""

import keras
import numpy as np
import pytest

from fixinit import theory
from fixinit.theory import calculus
from tests.theory.measuring import check, he

layers, ops = keras.layers, keras.ops

PATCHES = [
    {"size": 2},
    {"size": (4, 2)},
    {"size": 3, "padding": "same"},
    {"size": 3, "strides": 2, "padding": "same"},
    {"size": (2, 3), "strides": 1, "dilation_rate": 2},
]


@pytest.mark.parametrize("options", PATCHES)
def test_moments_of_patches(options):
    def make():
        x = keras.Input((8, 8, 4))
        y = ops.image.extract_patches(he(64, activation="relu")()(x), **options)
        return keras.Model(x, layers.Dense(32, kernel_initializer="he_normal")(y))

    check(make, (8, 8, 4), 0.03)


@pytest.mark.parametrize("options", PATCHES)
def test_every_pixel_stands_where_it_is_in_the_patch(options):
    image = np.arange(32.0).reshape(4, 8, 1)
    inputs = keras.Input((4, 8, 1))
    y = ops.image.extract_patches(inputs, **options)
    operation = keras.Model(inputs, y).operations[-1]
    setting = theory.Setting("patches", False, None, tuple(y.shape[1:]))
    found = theory.registry.find_by_key("ExtractPatches")(
        operation, setting, calculus.constant(image)
    )
    expected = ops.convert_to_numpy(operation(ops.convert_to_tensor(image[None])))[0]
    got = np.repeat(found.mean, found.channels, axis=0)
    np.testing.assert_allclose(np.moveaxis(got, 0, -1), expected)


def test_volumes():
    x = keras.Input((4, 4, 4, 8))
    model = keras.Model(x, ops.image.extract_patches(x, (2, 2, 2)))
    assert theory.predict(model).layers[-1].mean_square == pytest.approx(1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": (2, 3), "dilation": (1, 2)},
        {"kernel_size": 3, "stride": 3},
    ],
)
def test_unfolded_images(options):
    def make():
        x = keras.Input((8, 8, 4))
        y = he(16, activation="relu")()(x)
        y = ops.unfold(ops.transpose(y, (0, 3, 1, 2)), **options)
        y = ops.transpose(y, (0, 2, 1))
        return keras.Model(x, layers.Dense(32, kernel_initializer="he_normal")(y))

    check(make, (8, 8, 4), 0.03)


def test_padding_of_unfolded_images():
    x = keras.Input((16, 4, 4))
    model = keras.Model(x, ops.unfold(x, 2, stride=2, padding=1))
    # 9 patches of 4 places, of which 16 lie in the image.
    assert theory.predict(model).layers[-1].mean_square == pytest.approx(16 / 36)


def test_images_without_a_batch_have_no_rule():
    x = keras.Input(batch_shape=(8, 8, 4))
    with pytest.raises(theory.NoRuleError, match="without a batch"):
        theory.predict(keras.Model(x, ops.image.extract_patches(x, 2)))
