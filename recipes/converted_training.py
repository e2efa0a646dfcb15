"""Trains networks with BatchNorm as they are and converted, side by side.

python -m recipes.converted_training
"""

import dataclasses
import math
import warnings

import keras
import numpy as np

import fixinit
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.data.augmentation import TrainingBatches
from recipes.common.data.standard_inputs import as_read
from recipes.common.experiment import Claim
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import panels, style
from recipes.common.training import applications
from recipes.common.training.differences import Difference
from recipes.common.training.runs import Runs
from recipes.common.training.time_series import time_series_resnet

VERSIONS = {"normalized": "BatchNorm", "converted": "converted"}
# What counts as the same accuracy, in points.
MARGIN = 1.0
# A statistics' memory that settles within an epoch. Keras's 0.99 takes hundreds of
# steps, for which BatchNorm would be blamed.
MOMENTUM = 0.9
SIZE = 32
# The networks that read MNIST-1D; all others read digits.
SERIES = {
    "TimeSeriesResNet": lambda: time_series_resnet(length=40, classes=10),
    "ResidualMLP": lambda: fixinit.models.ResidualMLP(
        num_blocks=36, units=100, scheme="batch_norm", stacked=False
    ),
}
# The accuracy of a network that has diverged.
CHANCE = 0.1


def _check_model(name):
    if name not in SERIES:
        applications.check_name(name)


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    models: tuple[str, ...] = setting(
        ("MobileNetV2", *SERIES),
        f"Functions of keras.applications, and {' and '.join(SERIES)}.",
        quick=("TimeSeriesResNet",),
        check=_check_model,
    )
    scheme: str = setting(
        "fixup", "What takes the place of normalization.", check=fixinit.schemes.get
    )
    learning_rates: tuple[float, ...] = setting(
        (0.05, 0.1, 0.2),
        "Rates that both are trained at; the first seed decides.",
        quick=(0.05,),
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "Seeds of the runs.", quick=(0,), at_least=0
    )
    epochs: int = setting(15, "Epochs of each run on MNIST-1D.", quick=1)
    image_epochs: int = setting(60, "Epochs of each run on digits.", quick=1)
    batch_size: int = setting(32, "Samples in a batch.")
    clip_norm: float = setting(1.0, "The most that the norm of a gradient may be.")
    samples: int = setting(4000, "Training samples, at most.", quick=128)


def make(model):
    """A network with BatchNorm and random weights, for ten classes."""
    if model in SERIES:
        return SERIES[model]()
    return applications.build(model, SIZE, classes=10)


def data(settings, network):
    """Digits, 32 x 32 and in three channels, or MNIST-1D, as a network takes them."""
    is_series = len(network.input_shape) < 4
    found = datasets.load("mnist1d" if is_series else "digits", seed=settings.seed)

    def read(x):
        if is_series:
            return x.reshape(len(x), *network.input_shape[1:])
        x = x.repeat(SIZE // x.shape[1], axis=1).repeat(SIZE // x.shape[2], axis=2)
        return as_read(network, np.repeat(x, 3, axis=3))

    return dataclasses.replace(
        found,
        x_train=read(found.x_train[: settings.samples]),
        y_train=found.y_train[: settings.samples],
        x_test=read(found.x_test),
    )


def moved(data, batch_size, seed, epoch):
    """The training images of an epoch, each moved by up to four pixels."""
    targets = np.eye(data.num_classes, dtype="float32")[data.y_train]
    batches = TrainingBatches(data.x_train, targets, batch_size, crop=True, seed=seed)
    x, y = zip(*batches.epoch(epoch), strict=True)
    return np.concatenate(x), np.concatenate(y).argmax(axis=-1)


def clipped_sgd(settings):
    """SGD whose single steps cannot be large, of learning rate 1."""
    return keras.optimizers.SGD(1.0, momentum=0.9, global_clipnorm=settings.clip_norm)


def builder(settings, model, version):
    """A function from seeds to networks."""

    def build(seed):
        keras.utils.set_random_seed(seed)
        network = make(model)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = MOMENTUM
        if version == "normalized":
            return network
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return fixinit.convert(network, settings.scheme, seed=seed)

    return build


def measure(settings, model):
    """Both networks in turn: the first seed at every rate, the others at the best."""
    loaded = data(settings, make(model))
    runs = {
        version: Runs(
            builder(settings, model, version),
            loaded,
            settings.batch_size,
            settings.seeds[0],
            clipped_sgd(settings),
            divergence_loss=100.0,
        )
        for version in VERSIONS
    }
    for run in runs.values():
        run.fit(1, seed=0)  # compiles
    first, *others = settings.seeds
    found = []
    for rate in settings.learning_rates:
        found += _turns(settings, runs, dict.fromkeys(VERSIONS, rate), first)
    best = {version: _best_rate(found, version) for version in VERSIONS}
    for seed in others:
        found += _turns(settings, runs, best, seed)
    return {"runs": found, "step_seconds": _step_seconds(found)}


def _of(runs, version):
    return [run for run in runs if run["version"] == version]


def _best_rate(runs, version):
    """The rate that is best for a version at the first seed."""
    tried = [r for r in _of(runs, version) if r["seed"] == runs[0]["seed"]]
    return max(tried, key=lambda run: run["accuracy"])["rate"]


def _turns(settings, runs, rates, seed):
    """A run of each version, epoch by epoch, so that disturbances hit both."""
    found = {
        version: {
            "version": version,
            "seed": seed,
            "rate": rates[version],
            "step_seconds": [],
            "accuracy": None,
        }
        for version in runs
    }
    for version, run in runs.items():
        run.reset(rates[version], seed)
        data = run.data  # of both
    epochs = settings.image_epochs if data.is_image else settings.epochs
    size = settings.batch_size
    for epoch in range(epochs):
        last = epoch + 1 == epochs
        samples = data.x_train, data.y_train
        if data.is_image:
            samples = moved(data, size, seed, epoch)
        for version, run in runs.items():
            known = found[version]
            if known["accuracy"] is not None:
                continue
            run.set_learning_rate(rates[version] * (1 - epoch / epochs))
            order = 1000 * seed + epoch
            recorder = run.fit(1, order, tests=last, samples=samples)
            if recorder.diverged:
                known["accuracy"] = CHANCE
                continue
            (report,) = recorder.epochs
            steps = math.ceil(len(samples[0]) / size)
            known["step_seconds"].append(report["seconds"] / steps)
            if last:
                known["accuracy"] = report["test_accuracy"]
    return list(found.values())


def _step_seconds(runs):
    """What a step took: the median over epochs."""
    return {
        version: float(
            np.median([s for run in _of(runs, version) for s in run["step_seconds"]])
        )
        for version in VERSIONS
    }


def accuracies(arm, version):
    """Test accuracies of all seeds in percent at the version's rate, and that rate."""
    rate = _best_rate(arm["runs"], version)
    runs = _of(arm["runs"], version)
    return [100 * run["accuracy"] for run in runs if run["rate"] == rate], rate


def ratio(arm):
    """A converted step over a normalized one."""
    return arm["step_seconds"]["converted"] / arm["step_seconds"]["normalized"]


def tables(results):
    rows = []
    for arm in results["arms"]:
        for version, label in VERSIONS.items():
            found, rate = accuracies(arm, version)
            rows.append(
                (
                    arm["model"],
                    label,
                    rate,
                    f"{np.mean(found):.1f}",
                    ", ".join(f"{value:.1f}" for value in found),
                    1000 * arm["step_seconds"][version],
                )
            )
    columns = (
        "network",
        "version",
        "best rate",
        "test accuracy (%)",
        "seeds",
        "ms per step",
    )
    note = (
        "Each version at the rate that is best for it. Time: median over epochs in "
        "which the two took turns."
    )
    return [Table("Trained on digits and MNIST-1D", columns, rows, note, labels=2)]


def claims(results):
    lost, ratios, trained = {}, {}, []
    for arm in results["arms"]:
        (before, _), (after, _) = (accuracies(arm, v) for v in VERSIONS)
        trained.append(np.mean(before))
        lost[arm["model"]] = Difference.of(before, after)
        ratios[arm["model"]] = ratio(arm)
    if not lost:
        return []
    said = ", ".join(f"{name} {value:+.1f}" for name, value in lost.items())
    times = ", ".join(f"{name} x{value:.2f}" for name, value in ratios.items())
    return [
        Claim(
            "Converted networks reach the accuracy of their BatchNorm originals to "
            f"within {MARGIN:g} point.",
            min(trained) > 50 and all(v.mean <= MARGIN for v in lost.values()),
            f"points lost: {said}",
        ),
        Claim(
            "They take less time for a step.",
            all(value < 1 for value in ratios.values()),
            f"converted over original: {times}",
        ),
    ]


def draw(results):
    models = [arm["model"] for arm in results["arms"]]
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    handles = []
    for index, (version, label) in enumerate(VERSIONS.items()):
        for place, arm in enumerate(results["arms"]):
            found, _ = accuracies(arm, version)
            x = place + 0.24 * (index - 0.5)
            (points,) = axes[0].plot(
                [x] * len(found), found, "os"[index], color=f"C{index}", label=label
            )
            axes[1].bar(x, 1000 * arm["step_seconds"][version], 0.22, color=f"C{index}")
        handles.append(points)
    axes[0].set_ylabel("test accuracy (%)")
    axes[1].set_ylabel("time of a step (ms)")
    for axis in axes:
        axis.set_xticks(range(len(models)), models)
    panels.legend_below(figure, handles)
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: experiment.grid(model=settings.models),
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"training": draw},
)

if __name__ == "__main__":
    EXPERIMENT.start()
