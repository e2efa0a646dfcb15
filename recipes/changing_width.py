"""The shortcut where the width changes: parameters, mean square, accuracy.

The width of a network grows from w to 4w in five ways: doubled twice, with zeros
appended to the shortcut or with a projection (He's initialization or LeCun's); widened
a little at every block, with zeros; or by concatenating what every branch adds.

    python -m recipes.changing_width
    python -m recipes.changing_width --units=32 --num_blocks=24

Results go to --output_dir: report.html, PNGs, results.csv and results.json.

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), sections 3.3 and 4.1.
* [Han, Kim and Kim, 2017](https://arxiv.org/abs/1610.02915): widening at every block.
* [Huang et al., 2017](https://arxiv.org/abs/1608.06993): concatenation.
"""

import dataclasses

import keras
import numpy as np
from keras.initializers import HeNormal, LecunNormal

from fixinit.layers import ProjectionShortcut, ScaledAdd, ZeroPaddingShortcut
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Claim
from recipes.common.experiment.reading import select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_percent
from recipes.common.plotting import panels, style
from recipes.common.training import families
from recipes.common.training.differences import Difference
from recipes.common.training.initial import probe
from recipes.common.training.runs import Runs

# Name and color, from dark to light.
WAYS = {
    "zero_padding": ("zeros appended", "#1a1a1a"),
    "projection": ("projection, He", "#3b2f9b"),
    "projection_lecun": ("projection, LeCun", "#c0242e"),
    "widening": ("widened at every block", "#00877a"),
    "concatenation": ("concatenated", "#f0a030"),
}


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    dataset: str = setting("mnist1d", "Data set; flattened.", check=datasets.load)
    num_blocks: int = setting(
        12, "Residual blocks of two dense layers, divided by 3.", quick=6, at_least=3
    )
    units: int = setting(16, "Width of the first block; the last has four times that.")
    draws: int = setting(
        10, "Networks over which the mean square is averaged.", quick=3, at_least=2
    )
    runs: int = setting(4, "Networks to train in every way.", quick=2, at_least=2)
    epochs: int = setting(15, "Epochs of training.", quick=2)
    learning_rate: float = setting(0.03, "Learning rate, with momentum 0.9.")
    batch_size: int = setting(100, "Samples in a training step.")

    def __post_init__(self):
        super().__post_init__()
        if self.num_blocks % 3:
            raise ValueError(
                "--num_blocks must be divisible by 3, for three stages of equal "
                f"length. Received: --num_blocks={self.num_blocks}"
            )


def arms(settings):
    return [{"way": way} for way in WAYS]


def widths(settings, way):
    """The width before the first block and after every block."""
    blocks, first = settings.num_blocks, settings.units
    if way in ("widening", "concatenation"):
        grown = [first + 3 * first * block // blocks for block in range(1, blocks + 1)]
    else:
        grown = [first * 2 ** (3 * block // blocks) for block in range(blocks)]
    return [first, *grown]


def branch_scale(settings, way):
    # What is not added does not add up.
    return 1.0 if way == "concatenation" else settings.num_blocks**-0.5


def predicted(settings, way):
    """Mean square after every block, that of the first block's input being 1."""
    gain = branch_scale(settings, way) ** 2
    curve = [1.0]
    width = widths(settings, way)
    for before, after in zip(width[:-1], width[1:], strict=True):
        kept = 1.0
        if way in ("zero_padding", "widening"):
            kept = before / after
        elif way == "projection" and after > before:
            # He's variance makes up for a ReLU that no projection passes.
            kept = 2.0
        added = gain
        if way == "concatenation":
            kept, added = before / after, gain * (1 - before / after)
        curve.append(curve[-1] * (kept + added))
    return curve


def build(settings, way, data, seed):
    """The network, and the activations before the first and after every block."""
    rng = np.random.default_rng(seed)

    def draw(initializer):
        return initializer(seed=int(rng.integers(2**31)))

    def dense(units, initializer=HeNormal):
        return keras.layers.Dense(units, kernel_initializer=draw(initializer))

    def shortcut(x, units):
        if x.shape[-1] == units or way == "concatenation":
            return x
        if way in ("zero_padding", "widening"):
            return ZeroPaddingShortcut(units)(x)
        kernel = draw(HeNormal if way == "projection" else LecunNormal)
        return ProjectionShortcut(units, kernel_initializer=kernel)(x)

    inputs = keras.Input(data.input_shape)
    x = dense(settings.units, LecunNormal)(inputs)
    taps = [x]
    for units in widths(settings, way)[1:]:
        joins = way == "concatenation"
        branch = keras.layers.ReLU()(dense(units)(keras.layers.ReLU()(x)))
        branch = dense(units - x.shape[-1] if joins else units)(branch)
        scaled_add = ScaledAdd(branch_scale=branch_scale(settings, way))
        merge = keras.layers.Concatenate() if joins else scaled_add
        x = merge([shortcut(x, units), branch])
        taps.append(x)
    head = keras.layers.Dense(data.num_classes, kernel_initializer="zeros")
    return keras.Model(inputs, head(keras.layers.ReLU()(x))), taps


def measure(settings, way):
    data = families.get("residual_mlp").adapt(datasets.load(settings.dataset))
    x, _ = probe(data)
    growth = []
    for draw in range(settings.draws):
        model, taps = build(settings, way, data, settings.seed + draw)
        outputs = keras.Model(model.input, taps)(x)
        squares = [float(keras.ops.mean(keras.ops.square(h))) for h in outputs]
        growth.append(np.array(squares) / squares[0])
    runs = Runs(
        lambda seed: build(settings, way, data, seed)[0],
        data,
        settings.batch_size,
        settings.seed,
    )
    trained = [
        runs.run(settings.learning_rate, settings.seed + run, settings.epochs)[0]
        for run in range(settings.runs)
    ]
    return {
        "parameters": model.count_params(),
        "growth": growth,
        "predicted": predicted(settings, way),
        "widths": widths(settings, way),
        "train_loss": [[e["train_loss"] for e in epochs] for epochs in trained],
        "test_accuracy": [[e["test_accuracy"] for e in epochs] for epochs in trained],
    }


def final(arm):
    """Test accuracy of every run after its last epoch; 0 where it diverged."""
    epochs = max(map(len, arm["test_accuracy"]))
    return np.array([a[-1] if len(a) == epochs else 0.0 for a in arm["test_accuracy"]])


def compared(results, way, other):
    """The `Difference` of the accuracy of two ways, in points."""
    ways = [select(results, way=name)[0] for name in (way, other)]
    return Difference.of(*(100 * final(arm) for arm in ways))


def tables(results):
    rows = []
    for arm in results["arms"]:
        growth, accuracy = np.array(arm["growth"])[:, -1], final(arm)
        rows.append(
            (
                WAYS[arm["way"]][0],
                arm["parameters"],
                f"{growth.mean():.3g} ± {_error(growth):.2g}",
                arm["predicted"][-1],
                format_percent(accuracy.mean(), accuracy.std(ddof=1)),
            )
        )
    columns = ("shortcut", "parameters", "growth", "predicted", "test accuracy (%)")
    note = (
        "Growth: mean square after the last block, which is the variance over weights "
        "and inputs, the first block's input being 1; with its standard error. "
        "Accuracy: mean and standard deviation over runs."
    )
    return [Table("Five ways to four times the width", columns, rows, note)]


def claims(results):
    found = []
    factors, errors = {}, {}
    for arm in results["arms"]:
        growth = np.array(arm["growth"])[:, -1]
        factors[arm["way"]] = growth.mean()
        errors[arm["way"]] = abs(growth.mean() - arm["predicted"][-1]) / _error(growth)
    worst = max(errors, key=errors.get)
    found.append(
        Claim(
            "Where the width grows, appended zeros divide the mean square by its "
            "factor, a projection with He's initialization doubles it, one with "
            "LeCun's and concatenation keep it; branches add what they add anywhere.",
            # Three standard errors in five comparisons.
            errors[worst] < 3,
            f"from the first block to the last {', '.join(_growths(factors))}; that is "
            f"what the closed form says to within {errors[worst]:.1f} standard errors "
            f"(most: {WAYS[worst][0]})",
        )
    )
    for text, way, other in (
        (
            "Projections are better than zero-padding (slightly, in He et al., 2016).",
            "projection",
            "zero_padding",
        ),
        (
            "Widening a little at every block is better than doubling at a few (Han et "
            "al., 2017).",
            "widening",
            "zero_padding",
        ),
    ):
        difference = compared(results, way, other)
        sizes = [select(results, way=x)[0]["parameters"] for x in (way, other)]
        found.append(
            Claim(
                text,
                difference.is_positive,
                f"test accuracy {difference:+.1f} points (standard error), with "
                f"{sizes[0] / sizes[1] - 1:+.0%} parameters",
            )
        )
    return found


def _growths(factors):
    return [f"x{value:.2g} ({WAYS[way][0]})" for way, value in factors.items()]


def _error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def draw_growth(results):
    figure, axes = style.new_figure(1, 2, row_height=3.3)
    for arm in results["arms"]:
        name, color = WAYS[arm["way"]]
        growth = np.array(arm["growth"])
        blocks = np.arange(growth.shape[1])
        # Widths coincide: earlier ones are wider, and show behind later ones.
        line = 5.2 - list(WAYS).index(arm["way"])
        axes[0, 0].plot(blocks, arm["widths"], color=color, linewidth=line)
        axes[0, 1].plot(blocks, growth.mean(axis=0), color=color, label=name)
        spread = growth.std(axis=0, ddof=1)
        low, high = growth.mean(axis=0) - spread, growth.mean(axis=0) + spread
        axes[0, 1].fill_between(blocks, low, high, color=color, alpha=0.15, lw=0)
        panels.draw_prediction(axes[0, 1], blocks, arm["predicted"])
    axes[0, 0].set_ylabel("width (units)")
    axes[0, 1].set_ylabel("mean square (input = 1)")
    axes[0, 1].set_yscale("log", base=2)
    axes[0, 1].yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    for axis in axes[0]:
        axis.set_xlabel("block")
    handles = axes[0, 1].get_legend_handles_labels()[0]
    panels.legend_below(figure, [*handles, panels.prediction_handle()])
    return figure


def draw_training(results):
    figure, axes = style.new_figure(1, 2, row_height=3.3)
    for arm in results["arms"]:
        name, color = WAYS[arm["way"]]
        losses = [run for run in arm["train_loss"] if run]
        if losses:
            length = min(map(len, losses))
            mean = np.mean([run[:length] for run in losses], axis=0)
            axes[0, 0].plot(np.arange(1, length + 1), mean, color=color)
        accuracy = 100 * final(arm)
        axes[0, 1].errorbar(
            arm["parameters"],
            accuracy.mean(),
            _error(accuracy),
            color=color,
            marker="o",
            capsize=3,
            linestyle="",
            label=name,
        )
    axes[0, 0].set_xlabel("epoch")
    axes[0, 0].set_ylabel("train loss")
    axes[0, 1].set_xlabel("parameters")
    axes[0, 1].set_ylabel("test accuracy (%)")
    panels.legend_below(figure, axes[0, 1].get_legend_handles_labels()[0])
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"growth": draw_growth, "training": draw_training},
)

if __name__ == "__main__":
    EXPERIMENT.start()
