import keras
import numpy as np
import pytest

from recipes.converted_training.__main__ import EXPERIMENT
from recipes.converted_training.networks import SERIES, SIZE, make
from recipes.converted_training.samples import data, moved


def test_pixels_are_standardized_where_the_network_begins():
    inputs = keras.Input((SIZE, SIZE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1)(scaled))
    images = data(EXPERIMENT.settings(samples=256), network).x_train
    pixels = keras.ops.convert_to_numpy(keras.Model(inputs, scaled)(images))
    # Statistics are those of all training images, of which 256 are looked at.
    assert abs(np.mean(pixels)) < 0.1
    assert abs(np.std(pixels) - 1) < 0.1


@pytest.mark.parametrize("name", SERIES)
def test_series_are_read_one_value_at_a_time(name):
    network = make(name)
    loaded = data(EXPERIMENT.settings(samples=64), network)
    assert loaded.x_train.shape == (64, *network.input_shape[1:])
    assert loaded.x_test.shape[1:] == network.input_shape[1:]


def test_images_move_and_keep_their_labels():
    settings = EXPERIMENT.settings(samples=64)
    inputs = keras.Input((SIZE, SIZE, 3))
    loaded = data(settings, keras.Model(inputs, keras.layers.Flatten()(inputs)))
    # Each image says which one it is.
    marks = np.arange(64, dtype="float32")
    loaded.x_train[:] = 1 + marks[:, None, None, None]
    epochs = [moved(loaded, 16, seed=0, epoch=epoch) for epoch in (0, 0, 1)]
    for x, y in epochs:
        index = np.round(x[:, SIZE // 2, SIZE // 2, 0] - 1).astype(int)
        np.testing.assert_array_equal(np.sort(index), marks)
        np.testing.assert_array_equal(y, loaded.y_train[index])
        assert np.any(x == 0)
    np.testing.assert_array_equal(epochs[0][0], epochs[1][0])
    assert not np.array_equal(epochs[0][0], epochs[2][0])
