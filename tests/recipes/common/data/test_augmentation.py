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


def test_cutmix_pastes_a_box_and_mixes_targets_by_its_share():
    # Every image has one value of its own, so that each pixel says whose it is.
    x = np.broadcast_to(np.arange(1.0, 9)[:, None, None, None], (8, 16, 16, 3))
    batches = TrainingBatches(x.astype("float32"), one_hot(8), 8, cutmix_alpha=1.0)
    mixed = 0
    for inputs, targets in batches.epoch(0):
        for image, target in zip(inputs, targets, strict=True):
            owners = image[..., 0].round().astype(int) - 1
            assert set(np.unique(owners)) <= set(np.flatnonzero(target))
            # Boxes have edges between pixels: a row and a column may be lost.
            shares = np.bincount(owners.ravel(), minlength=8) / owners.size
            np.testing.assert_allclose(target, shares, atol=0.14)
            masks = [owners == owner for owner in np.unique(owners)]
            boxes = [np.outer(mask.any(1), mask.any(0)) for mask in masks]
            assert any(map(np.array_equal, masks, boxes))
            mixed += len(masks) - 1
    assert mixed > 3


def test_cutmix_has_the_first_half_of_a_batch_and_mixup_the_other():
    x = np.broadcast_to(np.arange(1.0, 9)[:, None, None, None], (8, 8, 8, 3))
    x = np.repeat(x, 20, axis=0).astype("float32")
    y = np.repeat(one_hot(8), 20, axis=0)
    options = {"mixup_alpha": 1.0, "cutmix_alpha": 1.0}
    for inputs, targets in TrainingBatches(x, y, 40, **options).epoch(0):
        np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-5)
        # CutMix leaves every pixel as it was in one of the images.
        assert np.all(inputs[:20] == inputs[:20].round())
        same = inputs[20:] == inputs[20:, :1, :1]
        assert np.all(same) and np.any(inputs[20:] != inputs[20:].round())


@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_rand_augment_changes_images_in_their_own_range_one_by_one(channels):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 8, 8, channels)).astype("float32")
    x = np.repeat(image, 24, axis=0)
    batches = TrainingBatches(x, np.ones((24, 1), "float32"), 12, rand_augment_factor=1)
    changed, _ = epoch(batches)
    low, high = x.min((0, 1, 2)), x.max((0, 1, 2))
    assert np.all(changed >= low - 1e-5) and np.all(changed <= high + 1e-5)
    # Not one change for all of a batch.
    assert len(np.unique(changed[:12].round(4), axis=0)) > 6


def test_without_new_kinds_batches_are_what_they_were():
    # The sum was recorded before there was CutMix.
    options = {"crop": True, "flip": True, "mixup_alpha": 1.0}
    inputs, _ = epoch(TrainingBatches(images(8), one_hot(8), 4, **options))
    assert inputs.sum(dtype="float64") == pytest.approx(555597.901424408, rel=1e-7)


ALL = {"crop": True, "flip": True, "mixup_alpha": 1.0, "cutmix_alpha": 1.0}


@pytest.mark.slow
def test_an_epoch_is_a_function_of_seed_and_epoch_alone():
    def batches(seed):
        return TrainingBatches(images(16), one_hot(16), 4, **ALL, seed=seed)

    undisturbed = batches(seed=3)
    first, second = epoch(undisturbed, 0), epoch(undisturbed, 1)
    np.testing.assert_equal(epoch(batches(seed=3), 1), second)
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(epoch(batches(seed=4), 1)[1], second[1])


@pytest.mark.slow
def test_half_precision_policy_leaves_the_samples_alone():
    # Its layer holds many others, which take a while to trace.
    options = {**ALL, "rand_augment_factor": 0.5}
    expected = epoch(TrainingBatches(images(8), one_hot(8), 4, **options))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        actual = epoch(TrainingBatches(images(8), one_hot(8), 4, **options))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_equal(actual, expected)


@pytest.mark.parametrize("options", [{"batch_size": 9}, {"batch_size": 4, "steps": 3}])
def test_more_samples_than_there_are_is_an_error(options):
    with pytest.raises(ValueError, match="8 samples"):
        TrainingBatches(images(8), one_hot(8), **options)


@pytest.mark.parametrize(
    "options, fix",
    [
        ({"crop": True}, "--augment=none"),
        ({"rand_augment_factor": 0.5}, "--rand_augment_factor=0"),
        ({"cutmix_alpha": 1.0}, "--cutmix_alpha=0"),
    ],
)
def test_images_are_needed_by_what_changes_them(options, fix):
    with pytest.raises(ValueError, match=f"need.* images.*{fix}"):
        TrainingBatches(np.ones((8, 5), "float32"), one_hot(8), 4, **options)


def test_rand_augment_of_two_channels_is_an_error():
    with pytest.raises(ValueError, match="one or three channels. The data has 2"):
        x = np.ones((8, 4, 4, 2), "float32")
        TrainingBatches(x, one_hot(8), 4, rand_augment_factor=0.5)


def test_batches_that_are_too_small_to_mix_are_an_error():
    with pytest.raises(ValueError, match="at least 4.*--batch_size=3"):
        TrainingBatches(images(8), one_hot(8), 3, mixup_alpha=1.0, cutmix_alpha=1.0)
