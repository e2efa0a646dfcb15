import collections

import keras
import numpy as np
import pytest

from recipes.common.data.augmentation import CROP_PADDING, TrainingBatches


def images(num_samples, size=8):
    """Images of which no two pixels are alike, all of them positive."""
    shape = (num_samples, size, size, 3)
    return 1 + np.arange(np.prod(shape), dtype="float32").reshape(shape)


def one_hot(num_samples):
    return np.eye(num_samples, dtype="float32")


def epoch(batches, index=0):
    inputs, targets = zip(*batches.epoch(index), strict=True)
    return np.concatenate(inputs), np.concatenate(targets)


def test_without_augmentation_an_epoch_is_a_permutation():
    x = images(12)
    batches = TrainingBatches(x, one_hot(12), batch_size=4)
    inputs, targets = epoch(batches)
    assert sorted(targets.argmax(-1)) == list(range(12))
    np.testing.assert_array_equal(inputs, x[targets.argmax(-1)])


def test_samples_that_do_not_fill_a_batch_are_left_out():
    batches = TrainingBatches(images(11), one_hot(11), batch_size=4)
    assert batches.steps == 2
    assert len(epoch(batches)[0]) == 8


def test_every_crop_is_a_window_of_the_zero_padded_image_and_all_occur():
    image = images(1)
    x = np.repeat(image, 3000, axis=0)
    batches = TrainingBatches(x, np.ones((3000, 1), "float32"), 100, crop=True)
    padding = (CROP_PADDING, CROP_PADDING)
    padded = np.pad(image[0], (padding, padding, (0, 0)))
    places = range(2 * CROP_PADDING + 1)
    windows = {padded[i : i + 8, j : j + 8].tobytes() for i in places for j in places}
    crops = collections.Counter(crop.tobytes() for crop in epoch(batches)[0])
    assert set(crops) == windows
    # Each of the 81 is equally probable: 37 on average, standard deviation 6.
    assert max(abs(count - 3000 / 81) for count in crops.values()) < 5 * 6.1


def test_half_of_the_images_are_flipped_left_to_right():
    image = images(1)
    x = np.repeat(image, 400, axis=0)
    batches = TrainingBatches(x, np.ones((400, 1), "float32"), 100, flip=True)
    same = [np.array_equal(flipped, image[0]) for flipped in epoch(batches)[0]]
    mirrored = [np.array_equal(f, image[0, :, ::-1]) for f in epoch(batches)[0]]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 150 < sum(same) < 250


@pytest.mark.parametrize("shape", [(5,), (5, 2), (4, 4, 3)])
def test_mixup_blends_inputs_and_targets_with_one_weight(shape):
    # Inputs that are linear in the targets stay so when both are blended.
    basis = np.random.default_rng(0).standard_normal((8, *shape)).astype("float32")
    batches = TrainingBatches(basis, one_hot(8), 8, mixup_alpha=1.0)
    inputs, targets = epoch(batches)
    assert ((targets > 0).sum(-1) == 2).any()
    np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)
    expected = np.tensordot(targets, basis, axes=1)
    np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-6)


ALL = {"crop": True, "flip": True, "mixup_alpha": 1.0}


def test_an_epoch_is_a_function_of_seed_and_epoch_alone():
    def batches(seed):
        return TrainingBatches(images(16), one_hot(16), 4, **ALL, seed=seed)

    undisturbed = batches(seed=3)
    first, second = epoch(undisturbed, 0), epoch(undisturbed, 1)
    np.testing.assert_equal(epoch(batches(seed=3), 1), second)
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(epoch(batches(seed=4), 1)[1], second[1])


def test_half_precision_policy_leaves_the_samples_alone():
    expected = epoch(TrainingBatches(images(8), one_hot(8), 4, **ALL))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        actual = epoch(TrainingBatches(images(8), one_hot(8), 4, **ALL))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_equal(actual, expected)


@pytest.mark.parametrize("options", [{"batch_size": 9}, {"batch_size": 4, "steps": 3}])
def test_more_samples_than_there_are_is_an_error(options):
    with pytest.raises(ValueError, match="8 samples"):
        TrainingBatches(images(8), one_hot(8), **options)


def test_crops_of_what_is_no_image_are_an_error():
    with pytest.raises(ValueError, match="need images"):
        TrainingBatches(np.ones((8, 5), "float32"), one_hot(8), 4, crop=True)
