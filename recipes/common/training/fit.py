"""One training run of a classifier, and the loss that it takes."""

import keras

from recipes.common.training.shuffled import Shuffled

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, data, optimizer, settings, callbacks=()):
    """Trains a network as it is, once. For many runs of one network: `Runs`.

    Args:
        model: Keras model that puts out logits.
        data: `recipes.common.data.datasets.Dataset` in the shape that the model takes.
        optimizer: Keras optimizer.
        settings: What has `epochs`, `batch_size`, and the `seed` of the order of the
            samples.
        callbacks: Keras callbacks.
    """
    # So few steps take less time than XLA, which only JAX does not go without.
    model.compile(optimizer, LOSS, jit_compile=keras.backend.backend() == "jax")
    batches = Shuffled(data.x_train, data.y_train, settings.batch_size, settings.seed)
    batches.fit(model, settings.epochs, callbacks)
