"""Trains networks with BatchNorm as they are and converted, side by side.

    python -m recipes.converted_training

What BatchNorm's noise is replaced by is tried for both, with the rates:

    python -m recipes.converted_training --scheme=normalizer_free --size=16 \
        --models=MobileNetV2,ResNet20,WideResNet16 --seeds=0,1,2,3,4 \
        --regularizations=none,stochastic_depth,label_smoothing,all
"""

import dataclasses

import numpy as np

import fixinit
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, setting
from recipes.common.plotting import panels, style
from recipes.common.plotting.variants import variant
from recipes.common.training.differences import Difference
from recipes.converted_training.networks import IMAGES, SERIES, SIZE, check_model
from recipes.converted_training.regularization import REGULARIZATIONS
from recipes.converted_training.summary import accuracies, best_runs, level
from recipes.converted_training.turns import of, train_in_turn

VERSIONS = {
    "normalized": variant("BatchNorm", "#3b2f9b", "", "s"),
    "converted": variant("converted", "#c0242e", "", "o"),
}
# What counts as the same accuracy, in points.
MARGIN = 1.0


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    models: tuple[str, ...] = setting(
        ("MobileNetV2", *SERIES),
        f"Functions of keras.applications, {', '.join((*SERIES, *IMAGES))}.",
        quick=("TimeSeriesResNet",),
        check=check_model,
    )
    scheme: str = setting(
        "fixup", "What takes the place of normalization.", check=fixinit.schemes.get
    )
    learning_rates: tuple[float, ...] = setting(
        (0.05, 0.1, 0.2),
        "Rates that both are trained at; the first seed decides.",
        quick=(0.05,),
    )
    regularizations: tuple[str, ...] = setting(
        ("none",),
        f"What both are trained with at every rate, out of {', '.join(REGULARIZATIONS)}"
        "; the first seed decides.",
        choices=tuple(REGULARIZATIONS),
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "Seeds of the runs.", quick=(0,), at_least=0
    )
    epochs: int = setting(15, "Epochs of each run on MNIST-1D.", quick=1)
    image_epochs: int = setting(60, "Epochs of each run on digits.", quick=1)
    warmup_epochs: int = setting(
        0, "Epochs of digits and MNIST-1D in which rates rise.", at_least=0
    )
    batch_size: int = setting(32, "Samples in a batch.")
    clip_norm: float = setting(1.0, "The most that the norm of a gradient may be.")
    clipping: float | None = setting(
        None,
        "Factor of adaptive clipping for converted networks, in the place of "
        "--clip_norm; 0 is off. Default: that of the scheme, if it has one.",
        at_least=0,
    )
    size: int = setting(
        SIZE, "Height and width of digits, a multiple of their 8.", at_least=8
    )
    samples: int = setting(4000, "Training samples, at most.", quick=128)

    def __post_init__(self):
        super().__post_init__()
        if self.size % 8:
            raise ValueError(
                "--size must be a multiple of 8, as pixels are repeated. Received: "
                f"--size={self.size}. Pass {self.size // 8 * 8}."
            )


def arms(settings):
    return experiment.grid(model=settings.models)


def measure(settings, model):
    runs = train_in_turn(settings, model)
    # What a step took: the median over epochs.
    times = {
        version: [s for run in of(runs, version) for s in run["step_seconds"]]
        for version in VERSIONS
    }
    medians = {version: np.median(found) for version, found in times.items()}
    return {"runs": runs, "step_seconds": medians}


def ratio(arm):
    """A converted step over a normalized one."""
    return arm["step_seconds"]["converted"] / arm["step_seconds"]["normalized"]


def by_version(results):
    """A row for every network and version."""
    for arm in results["arms"]:
        for version in VERSIONS:
            rate, regularization = best_runs(arm, version)[1]
            yield {
                "model": arm["model"],
                "version": version,
                "rate": rate,
                "regularization": regularization,
                "accuracies": accuracies(arm, version),
                "fitted": np.mean(accuracies(arm, version, "train_accuracy")),
                "milliseconds": 1000 * arm["step_seconds"][version],
            }


def tables(results):
    columns = {
        "network": "model",
        "version": lambda row: VERSIONS[row["version"]].label,
        "best rate": "rate",
        "regularization": "regularization",
        "test accuracy (%)": lambda row: f"{np.mean(row['accuracies']):.1f}",
        "seeds": lambda row: ", ".join(f"{x:.1f}" for x in row["accuracies"]),
        "in training (%)": lambda row: f"{row['fitted']:.1f}",
        "ms per step": "milliseconds",
    }
    return [Table.of("trained", by_version(results), columns, labels=2)]


def claims(results):
    lost, trained = {}, []
    found = {arm["model"]: level(arm) for arm in results["arms"]}
    for arm in results["arms"]:
        before, after = (accuracies(arm, version) for version in VERSIONS)
        trained.append(np.mean(before))
        lost[arm["model"]] = Difference.of(before, after)
    ratios = {arm["model"]: ratio(arm) for arm in results["arms"]}
    same = min(trained) > 50 and all(x.mean <= MARGIN for x in lost.values())
    return [
        Verdict("accuracy", same, margin=MARGIN, lost=lost),
        Verdict("level", all(x["level"] for x in found.values()), found=found),
        Verdict("time", all(x < 1 for x in ratios.values()), ratios=ratios),
    ]


def draw(results):
    models = [arm["model"] for arm in results["arms"]]
    shifts = dict(zip(VERSIONS, (-0.12, 0.12), strict=True))
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    for row in by_version(results):
        drawn = VERSIONS[row["version"]]
        x = models.index(row["model"]) + shifts[row["version"]]
        found = row["accuracies"]
        axes[0].plot([x] * len(found), found, **drawn.look)
        axes[1].bar(x, row["milliseconds"], 0.22, color=drawn.color)
    axes[0].set_ylabel("test accuracy (%)")
    axes[1].set_ylabel("time of a step (ms)")
    for axis in axes:
        axis.set_xticks(range(len(models)), models)
        axis.set_xlim(-0.5, len(models) - 0.5)
    panels.legend_below(
        figure,
        [panels.Line2D([], [], **v.look, label=v.label) for v in VERSIONS.values()],
    )
    return figure


EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, {"training": draw}
)

if __name__ == "__main__":
    EXPERIMENT.start()
