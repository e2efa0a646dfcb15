"""Batch sizes: where normalization by the batch loses to networks without.

Residual networks with BatchNorm and without normalization, trained with batches of 2 to
128 samples for the same number of epochs, each at its best of the same learning rates.

    python -m recipes.small_batches
    python -m recipes.small_batches --batch_sizes=2,8,32 --runs=3

References:

* [Wu and He, 2018](https://arxiv.org/abs/1803.08494), figure 1.
* [Brock et al., 2021](https://arxiv.org/abs/2102.06171), figure 2.
"""

import dataclasses

import numpy as np

from fixinit import schemes
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_percent, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.variants import Schemes
from recipes.common.training import families
from recipes.common.training.differences import Difference
from recipes.common.training.runs import Runs

SCHEMES = ("batch_norm", "fixup", "skip_init", "normalizer_free")


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    schemes: tuple[str, ...] = setting(
        SCHEMES,
        "Schemes to compare, batch_norm among them.",
        choices=schemes.names(),
    )
    batch_sizes: tuple[int, ...] = setting(
        (2, 4, 8, 32, 128), "Samples in a training step.", quick=(2, 64), at_least=2
    )
    num_blocks: int = setting(8, "Residual blocks.", quick=2)
    units: int = setting(48, "Width of every layer.", quick=16)
    epochs: int = setting(6, "Epochs of training.", quick=1)
    samples: int = setting(2000, "Training samples, the first ones.", quick=256)
    runs: int = setting(5, "Seeds at the best rate.", quick=2, at_least=2)
    learning_rates: tuple[float, ...] = setting(
        (0.003, 0.01, 0.03, 0.1, 0.3),
        "Learning rates to choose from at batches of 32; they grow with the root "
        "of the batch. Momentum is 0.9.",
        quick=(0.01, 0.1),
    )

    def __post_init__(self):
        super().__post_init__()
        if "batch_norm" not in self.schemes or len(self.schemes) < 2:
            raise ValueError(
                "--schemes must hold batch_norm and another one to compare. Received: "
                f"--schemes={','.join(self.schemes)}"
            )


def arms(settings):
    return experiment.grid(
        scheme=settings.schemes, batch_size=sorted(settings.batch_sizes)
    )


def measure(settings, scheme, batch_size):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    data = dataclasses.replace(
        data,
        x_train=data.x_train[: settings.samples],
        y_train=data.y_train[: settings.samples],
    )

    def build(seed):
        return families.residual_mlp(
            data,
            settings.num_blocks,
            settings.units,
            scheme=scheme,
            seed=seed,
        )

    runs = Runs(build, data, batch_size, settings.seed, scheme=scheme)
    rates = [rate * (batch_size / 32) ** 0.5 for rate in settings.learning_rates]
    tried = [accuracy(runs, rate, settings.seed, settings) for rate in rates]
    best = rates[int(np.argmax(tried))]
    # Other seeds than the one that the rate was chosen by.
    seeds = range(settings.seed + 1, settings.seed + 1 + settings.runs)
    return {
        "learning_rate": best,
        "rates": rates,
        "tried": tried,
        "test_accuracies": [accuracy(runs, best, s, settings) for s in seeds],
    }


def accuracy(runs, rate, seed, settings):
    """That of the test set after the last epoch; 0 of a run that diverged."""
    epochs, diverged = runs.run(rate, seed, settings.epochs)
    return 0.0 if diverged else float(epochs[-1]["test_accuracy"])


def percent(arm):
    """The test accuracy of every run, in percent."""
    return 100 * np.array(arm["test_accuracies"])


def tables(results):
    def cell(arm):
        found = percent(arm) / 100
        return format_percent(found.mean(), found.std(ddof=1))

    columns = {
        "scheme": "scheme",
        "batch": "batch_size",
        "best rate": "learning_rate",
        "test accuracy (%)": cell,
    }
    return [Table.of("accuracy", results["arms"], columns)]


def claims(results):
    sizes = sorted({arm["batch_size"] for arm in results["arms"]})
    smallest, largest = sizes[0], sizes[-1]
    found = {
        size: by(results, "scheme", batch_size=size) for size in (smallest, largest)
    }
    free = [s for s in found[smallest] if s != "batch_norm"]
    best = max(free, key=lambda s: percent(found[smallest][s]).mean())
    gain = Difference.of(*(percent(found[smallest][s]) for s in (best, "batch_norm")))
    lost, kept = (
        Difference.of(*(percent(found[size][s]) for size in (largest, smallest)))
        for s in ("batch_norm", best)
    )
    numbers = {
        "best": best,
        "smallest": smallest,
        "largest": largest,
        "gain": gain,
        "lost": lost,
        "kept": kept,
    }
    more = Difference(lost.mean - kept.mean, float(np.hypot(lost.error, kept.error)))
    return [
        Verdict("wins_at_the_smallest", gain.is_positive, **numbers),
        Verdict("batch_norm_needs_batches", more.is_positive, **numbers, more=more),
    ]


ACCURACY = Panel(
    Line(percent, x="batch_size"),
    {"xlabel": "batch size", "ylabel": "test accuracy (%)", "xscale": "log2"},
)
FIGURES = {"accuracy": Curves(ACCURACY, "scheme", Schemes())}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()
