"""What an epoch of a language model is measured by, beside its losses."""

import math
import time

import keras


class Measures(keras.callbacks.Callback):
    """Adds the tokens of a second, and bits per byte, to the logs of every epoch.

    Args:
        tokens: int. Tokens of an epoch.
        by_bytes: bool. Whether a token is a byte.
    """

    def __init__(self, tokens, by_bytes):
        super().__init__()
        self.tokens = tokens
        self.by_bytes = by_bytes

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_test_begin(self, logs=None):
        # Training ends where validation begins.
        self._seconds = time.perf_counter() - self._start

    def on_epoch_end(self, epoch, logs=None):
        logs["tokens_per_second"] = round(self.tokens / self._seconds)
        if self.by_bytes:
            logs["val_bits_per_byte"] = logs["val_loss"] / math.log(2)
