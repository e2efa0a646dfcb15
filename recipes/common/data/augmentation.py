"""Batches of augmented training samples, the same ones for the same seed.

The layers are Keras's own. They run in a `tf.data` pipeline on the CPU beside the
training step, on every backend alike, so that all three see the same batches.
"""

import keras
import numpy as np
import tensorflow as tf

from recipes.common.data.pipeline import epochs_in_a_row

CROP_PADDING = 4
# The arguments of Keras's layers for images.
_IMAGES = {"data_format": "channels_last", "dtype": "float32"}


class TrainingBatches:
    """Shuffled and augmented batches; an epoch's are a function of seed and epoch.

    Nothing is carried over from one epoch to the next, so that a run that was killed
    can go on with the epoch that it was at, and see what it would have seen.

    Example:

    >>> x, y = np.zeros((6, 2), "float32"), np.eye(6, dtype="float32")
    >>> batches = TrainingBatches(x, y, batch_size=4)
    >>> [inputs.shape for inputs, targets in batches.epoch(0)]
    [(4, 2)]

    Args:
        x: float32 array of shape `(num_samples, ...)`, channels last.
        y: float32 array of shape `(num_samples, num_classes)`, one-hot.
        batch_size: int. The last samples of an epoch's order, too few for a batch,
            are left out: other ones every epoch.
        steps: Optional int. Batches in an epoch, at most as many as the samples
            yield (the default).
        crop: bool. Crop at random after padding with four zeros on every side.
        flip: bool. Mirror every second image, on average.
        rand_augment_factor: float in [0, 1]. If positive, the strength of two random
            changes of every image, of its shape or its colors (Cubuk et al., 2020).
        mixup_alpha: float. If positive, blend every sample with another, with a
            weight from Beta(alpha, alpha) (Zhang et al., 2018).
        cutmix_alpha: float in [0, 1]. If positive, paste a box of another image into
            every image, whose share of the area is from Beta(alpha, alpha) (Yun et al.,
            2019). With mixup, the first half of every batch has it, and the other
            half mixup.
        seed: int.

    Raises:
        ValueError: If there are fewer samples than a batch or than `steps` need, if a
            batch cannot be mixed, or if what changes images is asked for where there
            are none.
    """

    def __init__(
        self,
        x,
        y,
        batch_size,
        steps=None,
        crop=False,
        flip=False,
        rand_augment_factor=0.0,
        mixup_alpha=0.0,
        cutmix_alpha=0.0,
        seed=0,
    ):
        available = len(x) // batch_size
        if not 1 <= (steps or 1) <= available:
            raise ValueError(
                f"The training set has {len(x)} samples, which make {available} "
                f"batches of {batch_size}. Received: --batch_size={batch_size}, "
                f"--steps_per_epoch={steps}. Make them smaller."
            )
        _check_images(x, crop or flip, rand_augment_factor, cutmix_alpha)
        _check_mixing(batch_size, mixup_alpha, cutmix_alpha)
        self.steps = steps or available
        self.batch_size = batch_size
        self.crop = crop
        self.flip = flip
        self.rand_augment_factor = rand_augment_factor
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.seed = seed
        # What pixels are at least and at most, by channel.
        if rand_augment_factor:
            self.value_range = x.min((0, 1, 2)), x.max((0, 1, 2))
        with tf.device("CPU"):
            self.x, self.y = tf.constant(x), tf.constant(y)

    def epochs(self, first, stop):
        """A `tf.data.Dataset` of the epochs `first` to `stop - 1` in a row."""
        signature = tuple(
            tf.TensorSpec((self.batch_size, *array.shape[1:]), array.dtype)
            for array in (self.x, self.y)
        )
        return epochs_in_a_row(self.epoch, first, stop, signature)

    def epoch(self, epoch):
        """The batches of one epoch, as NumPy arrays."""
        sequence = np.random.SeedSequence([self.seed, epoch])
        order = np.random.default_rng(sequence).permutation(len(self.x))
        batches = tf.data.Dataset.from_tensor_slices(
            order[: self.steps * self.batch_size]
        )
        batches = batches.batch(self.batch_size, drop_remainder=True)
        batches = batches.map(self._samples)
        # New layers every epoch: their random state must not depend on the epochs
        # before. In sequence, as the order of their draws must not vary either.
        for transform in self._transforms(sequence.generate_state(5)):
            batches = transform(batches)
        return batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    def _samples(self, rows):
        return tf.gather(self.x, rows), tf.gather(self.y, rows)

    def _transforms(self, seeds):
        """What changes the data set, in order. New kinds have the last seeds."""
        crop, flip, mixup, cutmix, rand_augment = (int(seed) % 2**31 for seed in seeds)
        if self.crop:
            yield _mapped(_on_inputs(_random_crop(self.x.shape[1:3], crop)))
        if self.flip:
            layer = keras.layers.RandomFlip("horizontal", seed=flip, **_IMAGES)
            yield _mapped(_on_inputs(layer))
        if self.rand_augment_factor:
            layer = keras.layers.RandAugment(
                factor=self.rand_augment_factor, seed=rand_augment, **_IMAGES
            )
            yield self._one_by_one(_on_inputs(_of_bytes(layer, *self.value_range)))
        mixing = []
        if self.cutmix_alpha:
            mixing.append(_cutmix(self.cutmix_alpha, cutmix))
        if self.mixup_alpha:
            mixing.append(_mixup(self.mixup_alpha, mixup))
        if mixing:
            yield _mapped(mixing[0] if len(mixing) == 1 else _by_halves(*mixing))

    def _one_by_one(self, transform):
        """For layers that do the same to all images of a batch."""

        def apply(batches):
            changed = batches.unbatch().map(transform)
            return changed.batch(self.batch_size, drop_remainder=True)

        return apply


def _check_images(x, moves, rand_augment_factor, cutmix_alpha):
    asked = {
        "Crops and flips": (moves, "--augment=none"),
        "RandAugment": (rand_augment_factor, "--rand_augment_factor=0"),
        "CutMix": (cutmix_alpha, "--cutmix_alpha=0"),
    }
    for name, (is_asked, fix) in asked.items():
        if is_asked and x.ndim != 4:
            raise ValueError(
                f"{name} need images, which the model reads as (height, width, "
                f"channels). It reads {x.shape[1:]} here. Pass {fix}."
            )
    if rand_augment_factor and x.shape[-1] not in (1, 3):
        raise ValueError(
            "RandAugment needs images of one or three channels. The data has "
            f"{x.shape[-1]}. Pass --rand_augment_factor=0."
        )


def _check_mixing(batch_size, mixup_alpha, cutmix_alpha):
    """Refuses batches in which there is no other sample to mix one with."""
    least = 2 * bool(mixup_alpha) + 2 * bool(cutmix_alpha)
    if batch_size < least:
        raise ValueError(
            f"What is mixed needs batches of at least {least}. Received: "
            f"--batch_size={batch_size}, --mixup_alpha={mixup_alpha:g}, "
            f"--cutmix_alpha={cutmix_alpha:g}. Make batches larger, or set these to 0."
        )


def _mapped(transform):
    return lambda batches: batches.map(transform)


def _of_bytes(layer, low, high):
    """A layer that reads pixels from 0 to 255, on those from `low` to `high`."""
    scale = np.where(high > low, high - low, 1.0).astype("float32") / 255

    def apply(x, training):
        return layer((x - low) / scale, training=training) * scale + low

    return apply


def _random_crop(size, seed):
    """Pads with zeros and crops to the former size, elsewhere for every image.

    That is to move the image by a whole number of pixels, from -4 to 4 with equal
    probability. Keras's `RandomCrop` crops all images of a batch at one place.
    `RandomTranslation` draws from a continuum and, with `"nearest"`, rounds; half a
    pixel more on either side gives the outermost numbers their full share.
    """
    return keras.layers.RandomTranslation(
        *((CROP_PADDING + 0.5) / length for length in size),
        fill_mode="constant",
        interpolation="nearest",
        seed=seed,
        **_IMAGES,
    )


def _on_inputs(layer):
    def transform(x, y):
        return layer(x, training=True), y

    return transform


def _mixup(alpha, seed):
    layer = keras.layers.MixUp(alpha, seed=seed, **_IMAGES)

    def transform(x, y):
        # The layer takes images only, but mixing asks for no shape.
        images = tf.reshape(x, (x.shape[0], -1, 1, 1))
        mixed = layer({"images": images, "labels": y}, training=True)
        return tf.reshape(mixed["images"], x.shape), mixed["labels"]

    return transform


def _cutmix(alpha, seed):
    # A single number would be the largest alpha, of which each batch draws its own.
    layer = keras.layers.CutMix((alpha, alpha), seed=seed, **_IMAGES)

    def transform(x, y):
        mixed = layer({"images": x, "labels": y}, training=True)
        return mixed["images"], mixed["labels"]

    return transform


def _by_halves(first, second):
    """Two transforms, each of one half of every batch."""

    def transform(x, y):
        half = x.shape[0] // 2
        parts = first(x[:half], y[:half]), second(x[half:], y[half:])
        return tuple(tf.concat(both, axis=0) for both in zip(*parts, strict=True))

    return transform
