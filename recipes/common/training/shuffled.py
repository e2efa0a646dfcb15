"""Batches of a training set, in an order that depends on the seed alone."""

import math

import keras
import numpy as np


class Shuffled(keras.utils.PyDataset):
    """Batches in a random order that is a function of seed and epoch.

    `fit(shuffle=True)` draws from the backend's global state. Seeding that for every
    run makes TensorFlow throw away what it has compiled.

    Example:

    >>> batches = Shuffled(np.arange(4), np.arange(4), batch_size=3, seed=0)
    >>> [len(x) for x, y in (batches[0], batches[1])]
    [3, 1]

    Args:
        x: Array of samples.
        y: Array of their targets.
        batch_size: int. The last batch of an epoch may be smaller.
        seed: int.
    """

    def __init__(self, x, y, batch_size, seed):
        super().__init__()
        self.x = x
        self.y = y
        self.batch_size = batch_size
        self.seed = seed
        self.start(epoch=0)

    def start(self, epoch):
        """Takes the order of an epoch, counted from 0."""
        rng = np.random.default_rng([self.seed, epoch])
        self._order = rng.permutation(len(self.x))

    def callback(self):
        """Starts every epoch of `fit`.

        Keras's own `on_epoch_end` would not do: it is also called when `fit` looks at
        the data of a model that is not built yet.
        """
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.start(epoch)
        )

    def fit(self, model, epochs, callbacks=(), **kwargs):
        """Trains a compiled model on these batches, in the orders of the epochs."""
        model.fit(
            self,
            epochs=epochs,
            shuffle=False,
            callbacks=[self.callback(), *callbacks],
            verbose=0,
            **kwargs,
        )

    def __len__(self):
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        rows = self._order[start : start + self.batch_size]
        return self.x[rows], self.y[rows]
