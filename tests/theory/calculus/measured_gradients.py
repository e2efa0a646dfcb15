"""Mean squares of gradients at the inputs of models that are run."""

import keras
import numpy as np

from fixinit import backend

BATCH = 16


def gradient_of_input(make, shape, seeds=6):
    """Mean square of the gradient at the input, for gradients of 1 at the output.

    Returns:
        Mean over draws, and its standard error.
    """
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = make()
        x = rng.standard_normal((BATCH, *shape)).astype("float32")
        size = tuple(model(x).shape)
        back = keras.ops.convert_to_tensor(rng.standard_normal(size).astype("float32"))

        def total(tensors, model=model, back=back):
            return keras.ops.sum(model(tensors[0], training=False) * back)

        differentiate = backend.value_and_gradients(total)
        _, (g,) = differentiate([keras.ops.convert_to_tensor(x)])
        found.append(np.mean(np.square(keras.ops.convert_to_numpy(g))))
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(seeds)
