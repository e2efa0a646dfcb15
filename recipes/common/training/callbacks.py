"""Callbacks of training runs that go on where they were killed."""

import math
import time

import keras

from recipes.common.training.noise import seed_noise


class TrainingDiverged(Exception):
    """The loss became NaN or infinite."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Ends training with an exception before a diverged epoch is kept.

    `keras.callbacks.TerminateOnNaN` ends the epoch as if it were finished.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._check(logs, f"at batch {batch + 1} of epoch {self.epoch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, f"in the test after epoch {epoch + 1}")

    def _check(self, logs, place):
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not math.isfinite(value):
                raise TrainingDiverged(
                    f"Training diverged: the loss became {value} {place}. Try a "
                    "smaller --learning_rate, --warmup_epochs, or another --scheme."
                )


class NoiseOfEpochs(keras.callbacks.Callback):
    """Makes what layers draw in an epoch a function of seed and epoch.

    A run that was killed goes on with the noise that it would have had, as it does with
    its batches.

    Args:
        seed: int.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        # Batches are drawn from the first two numbers alone.
        seed_noise(self.model, self.seed, epoch, 1)


class KeepEpochs(keras.callbacks.Callback):
    """Writes every finished epoch to disk: its row of the history, then its weights.

    In this order, since the checkpoint is what makes the epoch count: a row without
    its checkpoint is written anew.

    Args:
        directory: `recipes.common.training.run_directory.RunDirectory`.
        schedule: The learning rate schedule.
        steps_per_epoch: int.
        rows: List of the rows of earlier epochs. New ones are appended to it.
    """

    def __init__(self, directory, schedule, steps_per_epoch, rows):
        super().__init__()
        self.directory = directory
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.rows = rows

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        last_batch = (epoch + 1) * self.steps_per_epoch - 1
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(self.schedule(last_batch)),
            "seconds": round(time.perf_counter() - self.start, 3),
        }
        for name, value in logs.items():
            held_out = name.startswith("val_")
            part = self.directory.held_out if held_out else "train"
            row[f"{part}_{name.removeprefix('val_')}"] = float(value)
        self.rows.append(row)
        self.directory.write_history(self.rows)
        self.directory.save_checkpoint(self.model, epoch + 1)
