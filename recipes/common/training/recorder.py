"""A callback that records every epoch of `fit`."""

import time

import keras

from recipes.common.training.divergence import divergence


class Recorder(keras.callbacks.Callback):
    """Records the metrics of every epoch, and detects divergence.

    Args:
        bound: float. The bound of `Divergence`.
        steps: int. Steps of an epoch.
        gradient_norm: Callable that measures it after every epoch, or `None`.
        on_epoch: Called after every epoch.
    """

    def __init__(self, bound, steps, gradient_norm, on_epoch):
        super().__init__()
        self.bound = bound
        self.steps = steps
        self.gradient_norm = gradient_norm
        self.on_epoch = on_epoch
        self.epochs = []
        self.diverged = None

    @property
    def steps_per_second(self):
        """Those of the fastest epoch: the first compiles, others may be disturbed."""
        if not self.epochs:
            return None
        return self.steps / min(epoch["seconds"] for epoch in self.epochs)

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # Without the evaluation that follows the last batch.
        self._seconds = time.perf_counter() - self._start
        done = len(self.epochs)
        self.diverged = divergence(logs, self.bound, done + 1, done * self.steps)
        if self.diverged:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self.diverged:
            return
        self.epochs.append(
            {
                "epoch": len(self.epochs) + 1,
                "train_loss": logs["loss"],
                "train_accuracy": logs["accuracy"],
                "test_loss": logs.get("val_loss"),
                "test_accuracy": logs.get("val_accuracy"),
                "gradient_norm": self.gradient_norm() if self.gradient_norm else None,
                "seconds": round(self._seconds, 4),
            }
        )
        self.on_epoch()
