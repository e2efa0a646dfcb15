"""Batches of augmented training samples, the same ones for the same seed.

The layers are Keras's own. They run in a `tf.data` pipeline on the CPU beside the
training step, on every backend alike, so that all three see the same batches.
"""

import keras
import numpy as np
import tensorflow as tf

CROP_PADDING = 4


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
        mixup_alpha: float. If positive, blend every sample with another, with a
            weight from Beta(alpha, alpha) (Zhang et al., 2018).
        seed: int.

    Raises:
        ValueError: If there are fewer samples than a batch or than `steps` need, or
            if `crop` or `flip` are asked for where there are no images.
    """

    def __init__(
        self,
        x,
        y,
        batch_size,
        steps=None,
        crop=False,
        flip=False,
        mixup_alpha=0.0,
        seed=0,
    ):
        available = len(x) // batch_size
        if not 1 <= (steps or 1) <= available:
            raise ValueError(
                f"The training set has {len(x)} samples, which make {available} "
                f"batches of {batch_size}. Received: --batch_size={batch_size}, "
                f"--steps_per_epoch={steps}. Make them smaller."
            )
        if (crop or flip) and x.ndim != 4:
            raise ValueError(
                "Crops and flips need images, which the model reads as (height, width, "
                f"channels). It reads {x.shape[1:]} here. Pass --augment=none."
            )
        self.steps = steps or available
        self.batch_size = batch_size
        self.crop = crop
        self.flip = flip
        self.mixup_alpha = mixup_alpha
        self.seed = seed
        with tf.device("CPU"):
            self.x, self.y = tf.constant(x), tf.constant(y)

    def epochs(self, first, stop):
        """A `tf.data.Dataset` of the epochs `first` to `stop - 1` in a row."""

        def generate():
            for epoch in range(first, stop):
                yield from self.epoch(epoch)

        # With the size of a batch, without which TensorFlow cannot divide it among
        # devices and hands each a whole one.
        signature = tuple(
            tf.TensorSpec((self.batch_size, *array.shape[1:]), array.dtype)
            for array in (self.x, self.y)
        )
        batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
        # A thread that runs Python code when the iterator is deleted waits for the
        # interpreter, which waits for the thread. `epoch` looks ahead, not this.
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        return batches.with_options(options)

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
        for transform in self._transforms(sequence.generate_state(3)):
            batches = batches.map(transform)
        return batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

    def _samples(self, rows):
        return tf.gather(self.x, rows), tf.gather(self.y, rows)

    def _transforms(self, seeds):
        crop_seed, flip_seed, mixup_seed = (int(seed) % 2**31 for seed in seeds)
        transforms = []
        if self.crop:
            transforms.append(_on_inputs(_random_crop(self.x.shape[1:3], crop_seed)))
        if self.flip:
            layer = keras.layers.RandomFlip(
                "horizontal",
                seed=flip_seed,
                data_format="channels_last",
                dtype="float32",
            )
            transforms.append(_on_inputs(layer))
        if self.mixup_alpha:
            transforms.append(_mixup(self.mixup_alpha, mixup_seed))
        return transforms


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
        data_format="channels_last",
        dtype="float32",
    )


def _on_inputs(layer):
    def transform(x, y):
        return layer(x, training=True), y

    return transform


def _mixup(alpha, seed):
    layer = keras.layers.MixUp(
        alpha, seed=seed, data_format="channels_last", dtype="float32"
    )

    def transform(x, y):
        # The layer takes images only, but mixing asks for no shape.
        images = tf.reshape(x, (x.shape[0], -1, 1, 1))
        mixed = layer({"images": images, "labels": y}, training=True)
        return tf.reshape(mixed["images"], x.shape), mixed["labels"]

    return transform
