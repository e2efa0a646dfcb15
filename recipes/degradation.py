"""The degradation problem: deeper plain networks are worse, on the training set too.

Plain and residual networks with BatchNorm, and residual ones without normalization, at
growing depth: training and test error, and how many epochs they take to a target.

    python -m recipes.degradation
    python -m recipes.degradation --num_blocks=9,27 --epochs=60 --dataset=digits

Reference:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), sections 1 and 4.2.
"""

import dataclasses

import numpy as np

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_percent, setting
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
        options = {"seed": seed, "stacked": num_blocks > 1}
        options |= NETWORKS[network].options
        return families.residual_mlp(data, num_blocks, settings.units, **options)

    scheme = NETWORKS[network].options["scheme"]
    sizes = settings.batch_size, settings.seed
    runs = Runs(build, data, *sizes, scheme=scheme, jit_compile=True)
    seeds = range(settings.seed, settings.seed + settings.runs)
    curves = [runs.run(settings.learning_rate, s, settings.epochs)[0] for s in seeds]
    train, test = (
        [errors(epochs, f"{name}_accuracy", settings.epochs) for epochs in curves]
        for name in ("train", "test")
    )
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
    def error(name):
        def cell(arm):
            found = last(arm, name) / 100
            return format_percent(found.mean(), found.std(ddof=1))

        return cell

    def reached(arm):
        return ", ".join(str(epoch or "–") for epoch in arm["epochs_to_target"])

    columns = {
        "network": lambda arm: NETWORKS[arm["network"]].label,
        "layers": lambda arm: layers(arm["num_blocks"]),
        "parameters": "parameters",
        "train error (%)": error("train_errors"),
        "test error (%)": error("test_errors"),
        f"epochs to {100 * results['config']['target']:.0f} %": reached,
    }
    return [Table.of("errors", results["arms"], columns)]


def deeper_minus_shallower(results, network):
    """The `Difference` of the training errors of the deepest network and of the best
    shallower one, in points."""
    *shallower, deepest = experiment.select(results, network=network)
    best = min(shallower, key=lambda arm: arm["train_error"])
    return Difference.of(*(last(arm, "train_errors") for arm in (deepest, best)))


def claims(results):
    deepest = max(results["config"]["num_blocks"])
    more = {name: deeper_minus_shallower(results, name) for name in NETWORKS}
    found = by(results, "network", num_blocks=deepest)
    tests = (last(found[name], "test_errors") for name in ("plain", "residual"))
    gap = Difference.of(*tests)
    numbers = {"more": more, "layers": layers(deepest), "margin": MARGIN, "gap": gap}
    return [
        Verdict("plain_degrades", more["plain"].is_positive, **numbers),
        Verdict("batch_norm_does_not", more["residual"].is_below(MARGIN), **numbers),
        Verdict("fixup_does_not", more["fixup"].is_below(MARGIN), **numbers),
        Verdict("shortcuts_lower_test_error", gap.is_positive, **numbers),
    ]


def over_depth(name, title):
    line = Line(lambda arm: last(arm, name), x=lambda arm: layers(arm["num_blocks"]))
    axes = {"title": title, "xlabel": "weight layers", "ylabel": "error (%)"}
    return Panel(line, axes | {"xscale": "log2"})


def over_epochs(name, label, linestyle):
    def mean(arm):
        return 100 * np.mean(arm[name], axis=0)

    return Line(mean, label=label, look={"linestyle": linestyle}, first=1)


DEPTH = (over_depth("train_errors", "training"), over_depth("test_errors", "test"))
EPOCHS = Panel(
    (
        over_epochs("train_errors", "training", "--"),
        over_epochs("test_errors", "test", "-"),
    ),
    {"xlabel": "epoch", "ylabel": "error (%)"},
)
FIGURES = {
    "depth": Curves(DEPTH, "network", NETWORKS),
    "curves": Curves(
        EPOCHS,
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
