"""One training run: data, network, schedule and callbacks, from the settings."""

import dataclasses
import importlib.util
import pathlib

import keras
import numpy as np

from recipes.common.data import datasets
from recipes.common.data.augmentation import TrainingBatches
from recipes.common.training import compute, devices, resumable
from recipes.common.training.schedule import warmup_and_cosine
from recipes.train import model as networks
from recipes.train.run_directory import TENSORBOARD, RunDirectory


def run(settings, output_dir=None, data_dir=None, restart=False):
    """Trains a network, from its last finished epoch on.

    Args:
        settings: `recipes.train.settings.Settings`.
        output_dir: Optional path of the output directory.
        data_dir: Optional path of the directory that holds the data.
        restart: bool. Whether to remove an earlier run and start over.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError, TypeError, OSError, ImportError: Before training, if the settings
            ask for what cannot be done, or the output directory holds another run.
        TrainingDiverged: If the loss becomes NaN or infinite.
    """
    compute.start(settings)
    dataset = datasets.load(settings.dataset, data_dir)
    settings = settings.resolved(dataset)
    batches = training_batches(settings, dataset)
    schedule = warmup_and_cosine(settings, batches.steps)
    # TensorFlow has a type of its own for shapes.
    input_shape = tuple(batches.x.shape[1:])
    scope, num_devices = devices.data_parallel()
    devices.check(settings, num_devices, settings.gradient_accumulation_steps > 1)
    with scope:
        model = networks.build_model(settings, input_shape, dataset.num_classes)
        jit_compile = devices.jit_compile(settings.jit_compile, num_devices)
        networks.compile_model(model, settings, schedule, jit_compile)

        path = output_dir or default_output_dir(settings)
        directory = RunDirectory(path, dataclasses.asdict(settings), restart)
        rows = directory.restore(model)
    print(f"{model.name}: {model.count_params():,} parameters, {directory.path}")

    resumable.fit_rest(
        model,
        settings,
        directory,
        batches,
        schedule,
        rows,
        callbacks=[
            *averaging(settings),
            *tensorboard(directory.path / TENSORBOARD),
        ],
        validation_data=test_samples(settings, dataset, num_devices),
    )
    return resumable.finish(model, settings, directory, rows, num_devices)


def training_batches(settings, dataset):
    """The augmented training set."""
    return TrainingBatches(
        networks.adapted(dataset.x_train, settings.model),
        one_hot(dataset.y_train, dataset.num_classes),
        settings.batch_size,
        settings.steps_per_epoch,
        crop="crop" in settings.augment,
        flip="flip" in settings.augment,
        rand_augment_factor=settings.rand_augment_factor,
        mixup_alpha=settings.mixup_alpha,
        cutmix_alpha=settings.cutmix_alpha,
        seed=settings.seed,
    )


def test_samples(settings, dataset, num_devices):
    """The test set; on several devices with weights, 0 for samples that fill it up."""
    x = networks.adapted(dataset.x_test, settings.model)
    y = one_hot(dataset.y_test, dataset.num_classes)
    if num_devices == 1:
        return x, y
    # JAX distributes only batches that its devices can share equally.
    missing = -len(x) % num_devices
    weights = np.repeat(np.float32([1, 0]), [len(x), missing])
    rows = np.arange(len(x) + missing) % len(x)
    return x[rows], y[rows], weights


def averaging(settings):
    """The callback that puts averaged weights into the model while it is tested."""
    return [keras.callbacks.SwapEMAWeights()] if settings.ema_momentum else []


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
    size = settings.variant or settings.depth
    name = f"{dataset}_{settings.model}{size}_{settings.scheme}"
    return pathlib.Path("results/train", f"{name}_seed{settings.seed}")
