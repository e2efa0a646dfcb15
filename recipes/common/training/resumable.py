"""Training that goes on from the last finished epoch of its directory."""

import dataclasses
import sys

from recipes.common.experiment.environment import environment
from recipes.common.training.callbacks import (
    KeepEpochs,
    NoiseOfEpochs,
    StopAtNonFiniteLoss,
)


def fit_rest(
    model, settings, directory, batches, schedule, rows, callbacks=(), **options
):
    """Trains for the epochs that are left, and keeps each on disk.

    Args:
        model: Compiled Keras model, as it was after the finished epochs.
        settings: What has `epochs`, `batch_size` and `seed`.
        directory: `recipes.common.training.run_directory.RunDirectory`.
        batches: What has `steps`, the batches of an epoch, and `epochs(first, stop)`,
            a data set of those of several.
        schedule: The learning rate schedule.
        rows: List of the rows of finished epochs. New ones are appended to it.
        callbacks: Keras callbacks that come before the epoch is kept.
        **options: Further arguments of `fit`, such as `validation_data`.

    Raises:
        TrainingDiverged: If the loss becomes NaN or infinite.
    """
    finished = len(rows)
    if finished == settings.epochs:
        return
    model.fit(
        batches.epochs(finished, settings.epochs),
        steps_per_epoch=batches.steps,
        initial_epoch=finished,
        epochs=settings.epochs,
        validation_batch_size=settings.batch_size,
        callbacks=[
            NoiseOfEpochs(settings.seed),
            StopAtNonFiniteLoss(),
            *callbacks,
            KeepEpochs(directory, schedule, batches.steps, rows),
        ],
        shuffle=False,  # The batches are.
        verbose="auto" if sys.stdout.isatty() else 2,
        **options,
    )


def finish(model, settings, directory, rows, num_devices, **more):
    """Saves the model and writes results.json.

    Args:
        model: The trained Keras model.
        settings: The settings of the run, a dataclass.
        directory: `recipes.common.training.run_directory.RunDirectory`.
        rows: List of the rows of all epochs.
        num_devices: int.
        **more: What else results.json is to hold.

    Returns:
        What it holds.
    """
    # Of a run that was finished before, the checkpoint has the last weights.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    directory.save_model(model)
    results = {
        "settings": dataclasses.asdict(settings),
        "environment": environment(),
        "num_devices": num_devices,
        "num_parameters": model.count_params(),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "metrics": rows[-1],
        **more,
    }
    directory.write_results(results)
    return results
