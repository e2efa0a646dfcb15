"""The degradation problem: deeper plain networks are worse, on the training set too.

Plain and residual networks with BatchNorm, and residual ones without normalization, at
growing depth: training and test error, and how many epochs they take to a target.

    python -m recipes.degradation
    python -m recipes.degradation --num_blocks=9,27 --epochs=60 --dataset=digits

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

Reference:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), sections 1 and 4.2.
"""

import dataclasses

import numpy as np

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import (
    Table,
    Verdict,
    by,
    format_percent,
    select,
    setting,
)
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.variants import shades, variant
from recipes.common.training import families
from recipes.common.training.differences import Difference
from recipes.common.training.runs import Runs

NETWORKS = {
    "plain": variant(
        "Plain, BatchNorm", "#1a1a1a", marker="^", scheme="batch_norm", plain=True
    ),
    "residual": variant(
        "Residual, BatchNorm", "#3b2f9b", "--", "s", scheme="batch_norm"
    ),
    "fixup": variant("Residual, Fixup", "#c0242e", "-", "o", scheme="fixup"),
}
# Points of training error that count as none.
MARGIN = 3.0


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    num_blocks: tuple[int, ...] = setting(
        (4, 16, 48),
        "Depths: residual blocks, or pairs of layers in plain networks.",
        quick=(2, 16),
    )
    units: int = setting(32, "Width of every layer.")
    epochs: int = setting(15, "Epochs of training.", quick=4)
    runs: int = setting(3, "Seeds of every network.", quick=2, at_least=2)
    learning_rate: float = setting(0.05, "Learning rate, with momentum 0.9.")
    batch_size: int = setting(100, "Samples in a training step.")
    target: float = setting(
        0.5, "Training error to reach, as a part of 1.", below=1, quick=0.7
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.num_blocks) < 2:
            raise ValueError(
                "--num_blocks must hold two depths to compare. "
                f"Received: --num_blocks={self.num_blocks[0]}"
            )


def arms(settings):
    return experiment.grid(network=NETWORKS, num_blocks=sorted(settings.num_blocks))


def measure(settings, network, num_blocks):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))

    def build(seed):
        return families.residual_mlp(
            data,
            num_blocks,
            settings.units,
            **NETWORKS[network].options,
            seed=seed,
            stacked=num_blocks > 1,
        )

    runs = Runs(build, data, settings.batch_size, settings.seed, jit_compile=True)
    seeds = range(settings.seed, settings.seed + settings.runs)
    curves = [runs.run(settings.learning_rate, s, settings.epochs)[0] for s in seeds]
    train = [errors(epochs, "train_accuracy", settings.epochs) for epochs in curves]
    test = [errors(epochs, "test_accuracy", settings.epochs) for epochs in curves]
    reached = [np.flatnonzero(np.array(curve) <= settings.target) for curve in train]
    return {
        "parameters": runs.model.count_params(),
        "train_error": np.mean([curve[-1] for curve in train]),
        "test_error": np.mean([curve[-1] for curve in test]),
        # None: not within these epochs.
        "epochs_to_target": [int(r[0]) + 1 if len(r) else None for r in reached],
        "train_errors": train,
        "test_errors": test,
    }


def layers(num_blocks):
    """Weight layers of a network, with stem and head."""
    return 2 * num_blocks + 2


def errors(epochs, accuracy, count):
    """The error after every epoch; that of a run which diverged is 1 from there on."""
    found = [1 - epoch[accuracy] for epoch in epochs]
    return found + [1.0] * (count - len(found))


def last(arm, name):
    """The error of every run after the last epoch, in percent."""
    return 100 * np.array([curve[-1] for curve in arm[name]])


def tables(results):
    rows = [
        (
            NETWORKS[arm["network"]].label,
            layers(arm["num_blocks"]),
            arm["parameters"],
            *(
                format_percent(x.mean() / 100, x.std(ddof=1) / 100)
                for x in (last(arm, "train_errors"), last(arm, "test_errors"))
            ),
            ", ".join(str(epoch or "–") for epoch in arm["epochs_to_target"]),
        )
        for arm in results["arms"]
    ]
    columns = ("network", "layers", "parameters", "train error (%)", "test error (%)")
    columns += (f"epochs to {100 * results['config']['target']:.0f} %",)
    return [Table("errors", columns, rows)]


def deeper_minus_shallower(results, network):
    """The `Difference` of the training errors of the deepest network and of the best
    shallower one, in points."""
    *shallower, deepest = select(results, network=network)
    best = min(shallower, key=lambda arm: arm["train_error"])
    return Difference.of(*(last(arm, "train_errors") for arm in (deepest, best)))


def claims(results):
    deepest = max(results["config"]["num_blocks"])
    more = {name: deeper_minus_shallower(results, name) for name in NETWORKS}
    test = {
        name: last(arm, "test_errors")
        for name, arm in by(results, "network", num_blocks=deepest).items()
    }
    gap = Difference.of(test["plain"], test["residual"])
    numbers = {"more": more, "layers": layers(deepest), "margin": MARGIN, "gap": gap}
    return [
        Verdict("plain_degrades", more["plain"].is_positive, **numbers),
        Verdict("batch_norm_does_not", more["residual"].is_below(MARGIN), **numbers),
        Verdict("fixup_does_not", more["fixup"].is_below(MARGIN), **numbers),
        Verdict("shortcuts_lower_test_error", gap.is_positive, **numbers),
    ]


def error_over_depth(name, title):
    line = Line(lambda arm: last(arm, name), x=lambda arm: layers(arm["num_blocks"]))
    axes = {"title": title, "xlabel": "weight layers", "ylabel": "error (%)"}
    return Panel(line, axes | {"xscale": "log2"})


def percent(name):
    return lambda arm: (100 * np.mean(arm[name], axis=0)).tolist()


FIGURES = {
    "depth": Curves(
        (
            error_over_depth("train_errors", "training"),
            error_over_depth("test_errors", "test"),
        ),
        "network",
        NETWORKS,
    ),
    "curves": Curves(
        Panel(
            (
                Line(percent("train_errors"), None, "training", {"linestyle": "--"}, 1),
                Line(percent("test_errors"), None, "test", first=1),
            ),
            {"xlabel": "epoch", "ylabel": "error (%)"},
        ),
        "num_blocks",
        lambda depths: shades(depths, lambda depth: f"{layers(depth)} layers"),
        facet="network",
        facet_title=NETWORKS,
    ),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()
