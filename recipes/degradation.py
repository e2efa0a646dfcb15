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
from matplotlib.lines import Line2D

from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.reading import select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.plotting import panels, style
from recipes.common.plotting.figure import Figure
from recipes.common.training import families
from recipes.common.training.differences import Difference
from recipes.common.training.runs import Runs

# Arguments of the model, and how it is drawn.
NETWORKS = {
    "plain": ({"scheme": "batch_norm", "plain": True}, "Plain, BatchNorm", "#1a1a1a"),
    "residual": ({"scheme": "batch_norm"}, "Residual, BatchNorm", "#3b2f9b"),
    "fixup": ({"scheme": "fixup"}, "Residual, Fixup", "#c0242e"),
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
            **NETWORKS[network][0],
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
    rows = []
    for arm in results["arms"]:
        reached = arm["epochs_to_target"]
        rows.append(
            (
                NETWORKS[arm["network"]][1],
                layers(arm["num_blocks"]),
                arm["parameters"],
                *(
                    format_percent(last(arm, name).mean() / 100, _std(arm, name))
                    for name in ("train_errors", "test_errors")
                ),
                ", ".join("–" if epoch is None else str(epoch) for epoch in reached),
            )
        )
    target = results["config"]["target"]
    columns = ("network", "layers", "parameters", "train error (%)", "test error (%)")
    columns += (f"epochs to {100 * target:.0f} %",)
    note = (
        "Errors: mean and standard deviation over runs. Epochs: of every run, until "
        "its training error was that of the target; a dash where it was not."
    )
    return [Table("Errors after the last epoch", columns, rows, note)]


def _std(arm, name):
    return last(arm, name).std(ddof=1) / 100


def deeper_minus_shallower(results, network):
    """The `Difference` of the training errors of the deepest network and of the best
    shallower one, in points."""
    *shallower, deepest = select(results, network=network)
    best = min(shallower, key=lambda arm: arm["train_error"])
    return Difference.of(*(last(arm, "train_errors") for arm in (deepest, best)))


def claims(results):
    plain, residual, fixup = (
        deeper_minus_shallower(results, name) for name in ("plain", "residual", "fixup")
    )
    deepest = layers(max(results["config"]["num_blocks"]))
    (deep_plain,), (deep_residual,) = (
        select(results, network=n, num_blocks=max(results["config"]["num_blocks"]))
        for n in ("plain", "residual")
    )
    gap = Difference.of(*(last(a, "test_errors") for a in (deep_plain, deep_residual)))
    compared = "points of training error against the best shallower one"
    return [
        Claim(
            "Deeper plain networks have a higher training error: what is worse is not "
            "generalization but optimization.",
            plain.is_positive,
            f"{plain:+.1f} {compared}, with {deepest} layers",
        ),
        Claim(
            "With BatchNorm, deeper residual networks have no higher training error, "
            f"to within {MARGIN:g} points.",
            residual.is_below(MARGIN),
            f"{residual:+.1f} {compared}",
        ),
        Claim(
            "Without normalization, with Fixup, deeper residual networks have no "
            f"higher training error, to within {MARGIN:g} points.",
            fixup.is_below(MARGIN),
            f"{fixup:+.1f} {compared}",
        ),
        Claim(
            "At the greatest depth, shortcuts lower the test error.",
            gap.is_positive,
            f"by {gap:.1f} points at {deepest} layers",
        ),
    ]


def draw_curves(results):
    figure, axes = style.new_figure(1, len(NETWORKS), row_height=3.2, sharey=True)
    depths = sorted({arm["num_blocks"] for arm in results["arms"]})
    for axis, (network, (_, title, color)) in zip(
        axes[0], NETWORKS.items(), strict=True
    ):
        for index, arm in enumerate(select(results, network=network)):
            for name, linestyle in (("train_errors", "--"), ("test_errors", "-")):
                mean = 100 * np.mean(arm[name], axis=0)
                width = _width(index, depths)
                epochs = np.arange(1, len(mean) + 1)
                axis.plot(epochs, mean, linestyle, color=color, lw=width, alpha=0.85)
        axis.set_title(title)
        axis.set_xlabel("epoch")
    axes[0, 0].set_ylabel("error (%)")
    handles = [
        Line2D(
            [], [], color=style.INK, lw=_width(i, depths), label=f"{layers(d)} layers"
        )
        for i, d in enumerate(depths)
    ]
    handles.append(Line2D([], [], color=style.INK, ls="--", lw=1.2, label="training"))
    handles.append(Line2D([], [], color=style.INK, lw=1.2, label="test"))
    panels.legend_below(figure, handles)
    return figure


def _label(num_blocks):
    return f"{layers(num_blocks)} layers"


def _width(index, depths):
    return 0.8 + 1.8 * index / (len(depths) - 1)


def draw_depth(results):
    figure, axes = style.new_figure(1, 2, row_height=3.2, sharey=True)
    for axis, name in zip(axes[0], ("train_errors", "test_errors"), strict=True):
        for network, (_, label, color) in NETWORKS.items():
            found = select(results, network=network)
            values = [last(arm, name) for arm in found]
            axis.errorbar(
                [layers(arm["num_blocks"]) for arm in found],
                [x.mean() for x in values],
                [x.std(ddof=1) for x in values],
                color=color,
                marker="o",
                capsize=3,
                label=label,
            )
        axis.set_xscale("log", base=2)
        ticks = [layers(arm["num_blocks"]) for arm in found]
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.set_xlabel("weight layers")
    axes[0, 0].set_ylabel("training error (%)")
    axes[0, 1].set_ylabel("test error (%)")
    panels.legend_below(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


METHOD = """
Plain networks are residual ones without their shortcuts, layer by layer the same. As in
He et al. (2016), both have BatchNorm in front of every activation, so that activations
and gradients neither vanish nor explode at initialization. Fixup stands beside them, as
a residual network without normalization. All are trained alike, with momentum 0.9 and
a constant rate.

The training error is that of the last epoch while it went on, in training mode; the
test error is in test mode. The claims compare the deepest network with the best of the
shallower ones; a difference counts where it is twice its standard error over runs.

With BatchNorm, what falls with depth is the rate that a residual network bears. With
the default rate of 0.05, 98 layers have a higher training error than 10; with
--learning_rate=0.02 it is 41.4 ± 0.6 % against 40.3 ± 2.4 %, and with 0.01 45.7 ± 0.5 %
against 47.2 ± 2.5 %: no degradation, but slower training in as many epochs.
"""

FIGURES = (
    Figure(
        "depth",
        draw_depth,
        "Error over depth",
        "Training and test error after the last epoch, mean and standard deviation "
        "over runs.",
        "Line charts of training error and of test error against the number of "
        "weight layers, for plain and residual networks.",
    ),
    Figure(
        "curves",
        draw_curves,
        "Training",
        "Training error (dashed) and test error after every epoch, mean over runs; the "
        "deeper the network, the thicker the line.",
        "Line charts of errors against epochs, one panel for each kind of network and "
        "two lines for each depth.",
    ),
)

EXPERIMENT = experiment.Experiment(
    name="degradation",
    title="Degradation: plain and residual networks at growing depth",
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures=FIGURES,
    method=METHOD,
)

if __name__ == "__main__":
    EXPERIMENT.start()
