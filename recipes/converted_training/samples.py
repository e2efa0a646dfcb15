"""The samples that the networks read: digits and MNIST-1D."""

import dataclasses

import numpy as np

from recipes.common.data import datasets
from recipes.common.data.augmentation import TrainingBatches
from recipes.common.data.standard_inputs import as_read


def data(settings, network):
    """Digits, blown up and in three channels, or MNIST-1D, as a network takes them."""
    is_series = len(network.input_shape) < 4
    found = datasets.load("mnist1d" if is_series else "digits", seed=settings.seed)

    def read(x):
        if is_series:
            return x.reshape(len(x), *network.input_shape[1:])
        times = settings.size // x.shape[1]
        x = x.repeat(times, axis=1).repeat(times, axis=2)
        return as_read(network, np.repeat(x, 3, axis=3))

    return dataclasses.replace(
        found,
        x_train=read(found.x_train[: settings.samples]),
        y_train=found.y_train[: settings.samples],
        x_test=read(found.x_test),
    )


def moved(data, batch_size, seed, epoch):
    """The training images of an epoch, each moved by up to four pixels."""
    targets = np.eye(data.num_classes, dtype="float32")[data.y_train]
    batches = TrainingBatches(data.x_train, targets, batch_size, crop=True, seed=seed)
    x, y = zip(*batches.epoch(epoch), strict=True)
    return np.concatenate(x), np.concatenate(y).argmax(axis=-1)
