"""Windows of a text: inputs, and the tokens that follow each of them."""

import numpy as np
import tensorflow as tf

from recipes.common.data.pipeline import epochs_in_a_row


class TrainingWindows:
    """Windows at random places; an epoch's are a function of seed and epoch.

    A run that was killed goes on with the windows that it would have seen.

    Example:

    >>> windows = TrainingWindows(np.arange(9), length=4, batch_size=2, steps=1, seed=0)
    >>> ((inputs, targets),) = windows.epoch(0)
    >>> inputs.shape, bool((targets == inputs + 1).all())
    ((2, 4), True)

    Args:
        tokens: Integer array of more than `length` tokens.
        length: int. Tokens of a window.
        batch_size: int. Windows of a batch.
        steps: int. Batches of an epoch.
        seed: int.
    """

    def __init__(self, tokens, length, batch_size, steps, seed):
        self.tokens = tokens
        self.length = length
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def epochs(self, first, stop):
        """A `tf.data.Dataset` of the epochs `first` to `stop - 1` in a row."""
        spec = tf.TensorSpec((self.batch_size, self.length), "int32")
        return epochs_in_a_row(self.epoch, first, stop, (spec, spec))

    def epoch(self, epoch):
        """Yields the batches of one epoch, as NumPy arrays."""
        rng = np.random.default_rng([self.seed, epoch])
        shape = (self.steps, self.batch_size)
        for starts in rng.integers(len(self.tokens) - self.length, size=shape):
            yield at(self.tokens, starts, self.length)


def validation_windows(tokens, length, most, multiple_of=1):
    """Windows that do not overlap, spread evenly over the text.

    Args:
        tokens: Integer array.
        length: int. Tokens of a window.
        most: int. The most windows.
        multiple_of: int. Number that divides how many there are.

    Returns:
        `(inputs, targets)`, integer arrays of shape `(windows, length)`.

    Raises:
        ValueError: If the text has not as many windows as one multiple.
    """
    available = (len(tokens) - 1) // length
    count = min(most, available) // multiple_of * multiple_of
    if not count:
        raise ValueError(
            f"Validation needs {multiple_of} windows or more, one for each device. "
            f"There are {available}, and --validation_windows={most}. Raise "
            "--validation_share or --validation_windows, or make one device visible."
        )
    return at(tokens, np.arange(count) * available // count * length, length)


def at(tokens, starts, length):
    """The windows that start at some places: `(inputs, targets)`, as int32."""
    windows = tokens[np.asarray(starts)[:, None] + np.arange(length + 1)]
    windows = windows.astype(np.int32)
    return windows[:, :-1], windows[:, 1:]
