"""The shortcut where the width changes: parameters, mean square, accuracy.

The width of a network grows from w to 4w in five ways: doubled twice, with zeros
appended to the shortcut or with a projection (He's initialization or LeCun's); widened
a little at every block, with zeros; or by concatenating what every branch adds.

    python -m recipes.changing_width
    python -m recipes.changing_width --units=32 --num_blocks=24

References:

* [He et al., 2016](https://arxiv.org/abs/1512.03385), sections 3.3 and 4.1.
* [Han, Kim and Kim, 2017](https://arxiv.org/abs/1610.02915): widening at every block.
* [Huang et al., 2017](https://arxiv.org/abs/1608.06993): concatenation.
"""

import dataclasses

import keras
import numpy as np

from recipes.changing_width.networks import WAYS, build, predicted, widths
from recipes.common import experiment
from recipes.common.data import datasets
from recipes.common.experiment import Table, Verdict, by, format_percent, setting
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.panels import PREDICTION
from recipes.common.training import families
from recipes.common.training.differences import Difference
from recipes.common.training.initial import probe
from recipes.common.training.runs import Runs


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
    return experiment.grid(way=WAYS)


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
    seeds = range(settings.seed, settings.seed + settings.runs)
    trained = [runs.run(settings.learning_rate, s, settings.epochs)[0] for s in seeds]
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


def final_growth(arm):
    """The mean square after the last block, of every network."""
    return np.array(arm["growth"])[:, -1]


def error(values):
    """The standard error of their mean."""
    return values.std(ddof=1) / np.sqrt(len(values))


def tables(results):
    def growth(arm):
        values = final_growth(arm)
        return f"{values.mean():.3g} ± {error(values):.2g}"

    def accuracy(arm):
        return format_percent(final(arm).mean(), final(arm).std(ddof=1))

    columns = {
        "shortcut": lambda arm: WAYS[arm["way"]].label,
        "parameters": "parameters",
        "growth": growth,
        "predicted": lambda arm: arm["predicted"][-1],
        "test accuracy (%)": accuracy,
    }
    return [Table.of("ways", results["arms"], columns)]


def claims(results):
    found = by(results, "way")
    growths = {way: final_growth(arm) for way, arm in found.items()}
    errors = {
        way: abs(growth.mean() - found[way]["predicted"][-1]) / error(growth)
        for way, growth in growths.items()
    }
    worst = max(errors, key=errors.get)
    factors = {WAYS[way].label: growth.mean() for way, growth in growths.items()}
    yield Verdict(
        "closed_form",
        # Three standard errors in five comparisons.
        errors[worst] < 3,
        factors=factors,
        error=errors[worst],
        worst=WAYS[worst].label,
    )
    other = found["zero_padding"]
    for way in ("projection", "widening"):
        points = (100 * final(arm) for arm in (found[way], other))
        difference = Difference.of(*points)
        more = found[way]["parameters"] / other["parameters"] - 1
        yield Verdict(way, difference.is_positive, difference=difference, more=more)


GROWTH = (
    Panel(Line("widths"), {"xlabel": "block", "ylabel": "width (units)"}),
    Panel(
        (
            Line("growth"),
            Line("predicted", label="closed-form prediction", look=PREDICTION),
        ),
        {"xlabel": "block", "ylabel": "mean square (input = 1)", "yscale": "log2"},
    ),
)
TRAINING = (
    Panel(Line("train_loss", first=1), {"xlabel": "epoch", "ylabel": "train loss"}),
    Panel(
        Line(lambda arm: 100 * final(arm), x="parameters"),
        {"xlabel": "parameters", "ylabel": "test accuracy (%)"},
    ),
)
FIGURES = {
    "growth": Curves(GROWTH, "way", WAYS, row_height=3.3, share=""),
    "training": Curves(TRAINING, "way", WAYS, row_height=3.3, share=""),
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()
