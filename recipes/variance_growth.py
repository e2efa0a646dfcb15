"""How activations grow with depth: exponentially, linearly, within bounds, not at all.

python -m recipes.variance_growth
"""

import dataclasses
import math

import numpy as np

import fixinit
from fixinit.diagnostics import BlockStatistics, fit_growth
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, select, setting
from recipes.common.experiment.reading import numbers
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.common.plotting.panels import PREDICTION
from recipes.common.plotting.variants import Schemes

FAMILIES = {"mlp": "fully connected", "convolutional": "convolutional"}
SCHEMES = ("unnormalized", "batch_norm", "scaled_residual", "fixup")
IMAGE_SIZE = 8
# By how much a predicted factor per block may be off.
MARGIN = 0.02


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    families: tuple[str, ...] = setting(
        tuple(FAMILIES), "Kinds of networks.", choices=tuple(FAMILIES)
    )
    schemes: tuple[str, ...] = setting(
        SCHEMES, "Schemes to compare.", check=fixinit.schemes.get
    )
    num_blocks: int = setting(64, "Residual blocks of each network.", quick=12)
    units: int = setting(512, "Width of the fully connected networks.", quick=64)
    filters: int = setting(64, "Channels of the convolutional networks.", quick=16)
    batch_size: int = setting(128, "Inputs that are measured.", quick=32)
    draws: int = setting(4, "Networks of each kind, drawn independently.", quick=2)


def arms(settings):
    return experiment.grid(family=settings.families, scheme=settings.schemes)


def build(settings, family, scheme, draw):
    """A pre-activation network of equal blocks, and the shape of its inputs."""
    options = {"scheme": scheme, "stacked": True, "preactivation": True}
    options["seed"] = 1000 * settings.seed + draw
    if family == "mlp":
        shape = (settings.units,)
        return fixinit.models.ResidualMLP(
            settings.num_blocks, settings.units, input_shape=shape, **options
        )
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    return fixinit.models.ResNet(
        (settings.num_blocks,), (settings.filters,), input_shape=shape, **options
    )


def measure(settings, family, scheme):
    curves = []
    model = build(settings, family, scheme, draw=0)
    statistics = BlockStatistics(model)
    for draw in range(settings.draws):
        if draw:
            # Other weights in the same network, which is traced once.
            model.set_weights(build(settings, family, scheme, draw).get_weights())
        rng = np.random.default_rng([settings.seed, draw])
        shape = (settings.batch_size, *model.input_shape[1:])
        x = rng.normal(size=shape).astype("float32")
        curves.append(statistics(x, training=True))
    prediction = fixinit.theory.predict(
        model, training=True, batch_size=settings.batch_size
    )
    names = ["stem", *statistics.names[1:]]
    return {
        "mean_square": [curve.mean_square for curve in curves],
        "variance": [curve.variance for curve in curves],
        "predicted_mean_square": [prediction[n].mean_square for n in names],
        "predicted_variance": [prediction[n].variance for n in names],
    }


def mean_curve(arm):
    """The geometric mean over the draws, which differ by factors."""
    return np.exp(np.mean(np.log([numbers(c) for c in arm["mean_square"]]), axis=0))


def growth(arm):
    return fit_growth(mean_curve(arm))


def predicted_rate(arm):
    """The closed form's factor per block."""
    predicted = numbers(arm["predicted_mean_square"])
    return (predicted[-1] / predicted[0]) ** (1 / (len(predicted) - 1))


def prediction_error(arm, key="mean_square"):
    """Median over the blocks of the relative error of the prediction."""
    predicted = numbers(arm[f"predicted_{key}"])
    measured = np.mean([numbers(curve) for curve in arm[key]], axis=0)
    return float(np.median(np.abs(predicted / measured - 1)))


def label(arm):
    return Schemes()[arm["scheme"]].label


def tables(results):
    def factor(arm):
        fitted = growth(arm)
        low, high = fitted.interval
        return f"{fitted.rate:.3f} ± {(high - low) / 2:.3f}"

    columns = {
        "network": lambda arm: FAMILIES[arm["family"]],
        "scheme": label,
        "growth": lambda arm: growth(arm).kind,
        "factor per block": factor,
        "in all": lambda arm: growth(arm).total,
        "error (%)": lambda arm: f"{100 * prediction_error(arm):.1f}",
        "of variance (%)": lambda a: f"{100 * prediction_error(a, 'variance'):.1f}",
    }
    return [Table.of("growth", results["arms"], columns, labels=3)]


def in_units(arm):
    """Growth per block in units of the first block's input."""
    return growth(arm).slope * mean_curve(arm)[0]


# The claim about every scheme, and whether it holds for one family.
TESTS = {
    "batch_norm": lambda arm, growth: (
        growth.kind == "linear" and 0.8 < in_units(arm) < 1.25
    ),
    "scaled_residual": lambda arm, growth: (
        growth.kind == "bounded" and growth.total < math.e
    ),
    "fixup": lambda arm, growth: abs(growth.total - 1) < 1e-5,
}


def claims(results):
    # Apart for the two families, as padding makes a difference.
    for arm in select(results, scheme="unnormalized"):
        fitted, expected = growth(arm), predicted_rate(arm)
        low, high = fitted.interval
        held = fitted.kind == "exponential" and low <= expected <= high
        yield Verdict(
            f"{arm['family']}_doubles", held, growth=fitted, expected=expected
        )
    for scheme, test in TESTS.items():
        found = [(arm, growth(arm)) for arm in select(results, scheme=scheme)]
        if found:
            measured = [(FAMILIES[a["family"]], g, in_units(a)) for a, g in found]
            held = all(test(*item) for item in found)
            yield Verdict(scheme, held, measured=measured)
    errors = [abs(predicted_rate(a) / growth(a).rate - 1) for a in results["arms"]]
    worst = results["arms"][int(np.argmax(errors))]
    yield Verdict(
        "predicted",
        max(errors) < MARGIN,
        margin=MARGIN,
        error=max(errors),
        network=FAMILIES[worst["family"]],
        scheme=label(worst),
    )


GROWTH = Panel(
    (
        Line("mean_square"),
        Line("predicted_mean_square", label="closed-form prediction", look=PREDICTION),
    ),
    {"xlabel": "block", "ylabel": "mean square after the block", "yscale": "log"},
)
FIGURES = {
    "variance_growth": Curves(
        GROWTH, facet="family", facet_title=lambda name: f"{FAMILIES[name]} networks"
    )
}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()
