"""What regularizes residual networks: dropped, re-weighted and decayed branches, noise.

    python -m recipes.regularizing_residuals
    python -m recipes.regularizing_residuals --quick --output_dir=results/quick

Results go to --output_dir: report.html, PNGs, results.csv and results.json.
"""

import dataclasses

import keras
import numpy as np

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.training.runs import Runs
from recipes.regularizing_residuals import measurements
from recipes.regularizing_residuals.claims import claims
from recipes.regularizing_residuals.figures import FIGURES
from recipes.regularizing_residuals.measurements import BATCH_SIZE
from recipes.regularizing_residuals.networks import blocks, build
from recipes.regularizing_residuals.reading import WAYS, gap, lesion_cost, mean
from recipes.regularizing_residuals.residual_noise import calibrate

# Runs of one way are so many seeds apart: each layer has a seed of its own.
SEED_STEP = 1000


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    data: str = setting(
        "mnist1d", "Data set to train on.", quick="digits", check=datasets.load
    )
    ways: tuple[str, ...] = setting(
        tuple(WAYS),
        "Which ways to train with.",
        choices=tuple(WAYS),
    )
    num_blocks: int = setting(6, "Blocks of two weight layers each.", quick=3)
    units: int = setting(64, "Width of every layer, an even number.", quick=16)
    epochs: int = setting(16, "Epochs of training per network.", quick=2)
    repeats: int = setting(2, "Networks per way, each of its own seed.", quick=1)
    learning_rate: float = setting(0.05, "Learning rate of SGD with momentum 0.9.")
    survival: float = setting(
        0.5, "Probability that the last branch survives.", below=1.0
    )
    weak_decay: float = setting(1e-3, "Weight decay of the branches' kernels.")
    strong_decay: float = setting(1e-2, "The same for the stronger decay.")


def arms(settings):
    return [{"way": way} for way in settings.ways]


def measure(settings, way):
    data = vectors(datasets.load(settings.data, seed=settings.seed))
    steps = settings.epochs * len(data.x_train) // BATCH_SIZE
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    runs = Runs(
        lambda seed: build(settings, way, data, seed),
        data,
        BATCH_SIZE,
        settings.seed,
        keras.optimizers.SGD(schedule, momentum=0.9),
        scheme="fixup",  # whose scalars all but networks with BatchNorm have
    )
    seeds = [settings.seed + SEED_STEP * repeat for repeat in range(settings.repeats)]
    found = [measure_run(settings, runs, data, seed) for seed in seeds]
    return {key: [run[key] for run in found] for key in found[0]}


def vectors(data):
    """The data set as vectors, with whole batches of training samples alone.

    Ghost batches divide a batch into equal parts.
    """
    size = max(len(data.x_train) // BATCH_SIZE, 1) * BATCH_SIZE
    return dataclasses.replace(
        data,
        x_train=data.x_train.reshape(len(data.x_train), -1)[:size],
        y_train=data.y_train[:size],
        x_test=data.x_test.reshape(len(data.x_test), -1),
    )


def measure_run(settings, runs, data, seed):
    """Trains the network of one seed, and measures it."""
    model, test = runs.model, (data.x_test, data.y_test)
    runs.reset(None, seed)
    calibrate(model, data.x_train)
    initial_noise = measurements.noise(model, data.x_train, seed)
    runs.fit(settings.epochs, seed, tests=False)
    return {
        "train_accuracy": measurements.accuracy(model, data.x_train, data.y_train),
        "test_accuracy": measurements.accuracy(model, *test),
        "lesioned": [
            measurements.accuracy(model, *test, removed=block)
            for block in blocks(model)
        ],
        "ratios": measurements.branch_ratios(model, data.x_test),
        "initial_noise": initial_noise,
        "noise": measurements.noise(model, data.x_train, settings.seed),
    }


def tables(results):
    rows = [
        (
            WAYS[arm["way"]].label,
            *(
                format_percent(mean(arm, key), np.std(arm[key]))
                for key in ("train_accuracy", "test_accuracy")
            ),
            f"{100 * gap(arm):.1f}",
            f"{100 * lesion_cost(arm):.1f}",
            mean(arm, "ratios"),
            mean(arm, "noise"),
        )
        for arm in results["arms"]
    ]
    columns = ("way", "train (%)", "test (%)", "gap", "lesion", "branch", "noise")
    return [Table("ways", columns, rows)]


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures=FIGURES,
)

if __name__ == "__main__":
    EXPERIMENT.start()
