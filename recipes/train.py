"""Trains one network, with or without normalization, as one would for a paper.

    python -m recipes.train --dataset=cifar10 --model=cifar_resnet --depth=110

The defaults are the published recipe for CIFAR-10: ResNet-110, batches of 128, SGD
with momentum 0.9, a learning rate of 0.1 that a cosine takes to zero in 200 epochs,
weight decay 1e-4, random crops and flips, mixup with alpha 1.

    python -m recipes.train --dataset=digits --depth=20 --epochs=30

takes a few minutes on two CPU cores.

The output directory receives settings.json, history.csv (a row per epoch), logs for
TensorBoard, the newest checkpoint and, at the end, model.keras and results.json. A run
that was killed goes on from its last finished epoch when the same command is given
again, and ends with the same weights.

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), section 4.2.
* [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
* [Zhang et al., 2018](https://arxiv.org/abs/1710.09412) (mixup).
"""

import dataclasses
import importlib.util
import os
import pathlib
import re
import sys

# Before Keras is imported, which brings in TensorFlow and its messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402

from recipes.common import command_line, datasets, devices, training  # noqa: E402
from recipes.common.augmentation import TrainingBatches  # noqa: E402
from recipes.common.environment import environment  # noqa: E402
from recipes.common.run_directory import TENSORBOARD, RunDirectory  # noqa: E402
from recipes.common.train_callbacks import (  # noqa: E402
    KeepEpochs,
    StopAtNonFiniteLoss,
    TrainingDiverged,
)
from recipes.common.train_settings import Settings  # noqa: E402


def run(settings, output_dir=None, data_dir=None, restart=False):
    """Trains the network that `settings` ask for, or what is left to train of it.

    Args:
        settings: `recipes.common.train_settings.Settings`.
        output_dir: Optional path of the output directory.
        data_dir: Optional path of the directory that holds the data.
        restart: bool. Do not go on with an earlier run.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError, TypeError, OSError, ImportError: Before training, if the settings
            ask for what cannot be done, or the output directory holds another run.
        TrainingDiverged: If the loss is not a number any more.
    """
    keras.utils.set_random_seed(settings.seed)
    policy = settings.mixed_precision
    keras.config.set_dtype_policy("float32" if policy == "none" else policy)
    devices.leave_gpus_to_backend()

    dataset = datasets.load(settings.dataset, data_dir)
    settings = settings.resolved(dataset)
    batches = training_batches(settings, dataset)
    schedule = training.learning_rate_schedule(settings, batches.steps)
    # TensorFlow has a type of its own for shapes.
    input_shape = tuple(batches.x.shape[1:])
    scope, num_devices = devices.data_parallel()
    devices.check(settings, num_devices)
    with scope:
        model = training.build_model(settings, input_shape, dataset.num_classes)
        jit_compile = devices.jit_compile(settings.jit_compile, num_devices)
        training.compile_model(model, settings, schedule, jit_compile)

        directory = RunDirectory(output_dir or default_output_dir(settings))
        if restart:
            directory.clear()
        directory.check_settings(
            dataclasses.asdict(settings) | {"backend": keras.backend.backend()}
        )
        finished = directory.finished_epochs()
        if finished:
            directory.load_checkpoint(model)
    rows = directory.read_history(finished)
    print(f"{model.name}: {model.count_params():,} parameters, {directory.path}")

    if finished < settings.epochs:
        model.fit(
            batches.epochs(finished, settings.epochs),
            steps_per_epoch=batches.steps,
            initial_epoch=finished,
            epochs=settings.epochs,
            validation_data=test_samples(settings, dataset, num_devices),
            validation_batch_size=settings.batch_size,
            callbacks=[
                StopAtNonFiniteLoss(),
                *tensorboard(directory.path / TENSORBOARD),
                KeepEpochs(directory, schedule, batches.steps, rows),
            ],
            shuffle=False,  # The batches are.
            verbose="auto" if sys.stdout.isatty() else 2,
        )
    directory.save_model(model)
    results = {
        "settings": dataclasses.asdict(settings),
        "environment": environment(),
        "num_devices": num_devices,
        "num_parameters": model.count_params(),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "metrics": rows[-1],
    }
    directory.write_results(results)
    return results


def training_batches(settings, dataset):
    """The augmented training set."""
    return TrainingBatches(
        training.adapted(dataset.x_train, settings.model),
        one_hot(dataset.y_train, dataset.num_classes),
        settings.batch_size,
        settings.steps_per_epoch,
        crop="crop" in settings.augment,
        flip="flip" in settings.augment,
        mixup_alpha=settings.mixup_alpha,
        seed=settings.seed,
    )


def test_samples(settings, dataset, num_devices):
    """The test set; on several devices with weights, 0 for samples that fill it up."""
    x = training.adapted(dataset.x_test, settings.model)
    y = one_hot(dataset.y_test, dataset.num_classes)
    if num_devices == 1:
        return x, y
    # JAX distributes only batches that its devices can share equally.
    missing = -len(x) % num_devices
    weights = np.repeat(np.float32([1, 0]), [len(x), missing])
    rows = np.arange(len(x) + missing) % len(x)
    return x[rows], y[rows], weights


def tensorboard(log_dir):
    """The callback that writes logs for TensorBoard, if that is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        print("No logs for TensorBoard: it is not installed (pip install tensorboard).")
        return []
    return [keras.callbacks.TensorBoard(log_dir, write_graph=False)]


def one_hot(labels, num_classes):
    return np.eye(num_classes, dtype="float32")[labels]


def default_output_dir(settings):
    """results/train/ and a name that tells runs apart at a glance."""
    dataset = settings.dataset
    if dataset.startswith("npz:"):
        dataset = pathlib.Path(dataset.removeprefix("npz:")).stem
    name = f"{dataset}_{settings.model}{settings.depth}_{settings.scheme}"
    return pathlib.Path("results/train", f"{name}_seed{settings.seed}")


def define_flags(flag_values=flags.FLAGS):
    command_line.define(Settings, flag_values)
    flags.DEFINE_string(
        "output_dir",
        None,
        "Where checkpoints, logs and results go. A run that was interrupted goes on "
        "from its last finished epoch when it is started again with the same flags. "
        "Default: results/train/ and a name made of data set, model, scheme and seed.",
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "restart",
        False,
        "Delete what earlier runs left in --output_dir and start from the beginning.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "Directory that holds the CIFAR archive or the folder extracted from it. By "
        "default Keras downloads the data or takes it from its cache.",
        flag_values=flag_values,
    )


def main(argv):
    values = flags.FLAGS
    try:
        results = run(
            command_line.parse(Settings, argv, values),
            values.output_dir,
            values.data_dir,
            values.restart,
        )
    except (ValueError, TypeError, OSError, ImportError, TrainingDiverged) as error:
        # One line, without the frames that led to it.
        message = re.sub(r"\s+", " ", str(error))
        print(f"error: {message}", file=sys.stderr)
        return 1
    metrics = results["metrics"]
    print(
        f"Test accuracy {100 * metrics['test_accuracy']:.2f} % after "
        f"{metrics['epoch']} epochs, {results['seconds']:.0f} seconds of training."
    )
    return 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
