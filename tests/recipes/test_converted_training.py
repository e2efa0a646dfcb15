import keras
import numpy as np
import pytest

from recipes.converted_training import (
    EXPERIMENT,
    SERIES,
    SIZE,
    accuracies,
    claims,
    data,
    make,
    moved,
    ratio,
)


def run(version, seed, rate, accuracy):
    known = {"version": version, "seed": seed, "rate": rate, "accuracy": accuracy}
    return {**known, "step_seconds": []}


ARM = {
    "model": "Net",
    "runs": [
        run("normalized", 0, 0.1, 0.9),
        run("converted", 0, 0.1, 0.5),
        run("normalized", 0, 0.2, 0.1),
        run("converted", 0, 0.2, 0.84),
        run("normalized", 1, 0.1, 0.8),
        run("converted", 1, 0.2, 0.86),
    ],
    "step_seconds": {"normalized": 0.2, "converted": 0.15},
}


def test_each_version_at_its_own_best_rate():
    assert accuracies(ARM, "normalized") == ([90.0, 80.0], 0.1)
    assert accuracies(ARM, "converted") == ([84.0, 86.0], 0.2)
    assert ratio(ARM) == pytest.approx(0.75)


def test_one_seed_at_its_best_rate():
    one = {**ARM, "runs": ARM["runs"][:4]}
    assert accuracies(one, "converted") == ([84.0], 0.2)
    assert accuracies(one, "normalized") == ([90.0], 0.1)


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


def test_claims_need_networks_that_have_learned():
    assert [claim.held for claim in claims({"arms": [ARM]})] == [True, True]
    untrained = {
        **ARM,
        "runs": [run(version, 0, 0.1, 0.1) for version in ("normalized", "converted")],
    }
    assert not claims({"arms": [untrained]})[0].held


@pytest.mark.slow
def test_runs_resumes_and_claims(check_experiment):
    content = check_experiment(EXPERIMENT, "--quick", "--samples=64")
    (arm,) = content["arms"]
    assert set(arm["step_seconds"]) == {"normalized", "converted"}
