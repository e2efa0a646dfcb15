"""What random layers draw, as a function of numbers alone."""

import numpy as np

from fixinit import _keras


def seed_noise(model, *numbers):
    """Sets the states of all that a model draws from.

    Keras neither saves them with the weights nor brings them back: without this, the
    noise of an epoch depends on what the process has run before.

    Args:
        model: `keras.Model`.
        *numbers: ints, at least 0, such as a seed and an epoch.
    """
    rng = np.random.default_rng(numbers)
    for state in _keras.seed_states(model):
        state.assign(rng.integers(2**31, size=tuple(state.shape)))
