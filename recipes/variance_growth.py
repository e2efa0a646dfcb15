"""How activations grow with depth: exponentially, linearly, within bounds, not at all.

python -m recipes.variance_growth
"""

import dataclasses
import math

import numpy as np

import fixinit
from fixinit.diagnostics import BlockStatistics, fit_growth
from recipes.common import experiment
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import panels, style

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


def mean_curve(arm, key="mean_square"):
    """The geometric mean over the draws, which differ by factors."""
    return np.exp(np.mean(np.log([read.numbers(c) for c in arm[key]]), axis=0))


def predicted_rate(arm):
    """The closed form's factor per block."""
    predicted = read.numbers(arm["predicted_mean_square"])
    return (predicted[-1] / predicted[0]) ** (1 / (len(predicted) - 1))


def prediction_error(arm, key="mean_square"):
    """Median over the blocks of the relative error of the prediction."""
    predicted = read.numbers(arm[f"predicted_{key}"])
    measured = np.mean([read.numbers(curve) for curve in arm[key]], axis=0)
    return float(np.median(np.abs(predicted / measured - 1)))


def tables(results):
    rows = []
    for arm in results["arms"]:
        growth = fit_growth(mean_curve(arm))
        low, high = growth.interval
        rows.append(
            (
                FAMILIES[arm["family"]],
                style.scheme_style(arm["scheme"])["label"],
                growth.kind,
                f"{growth.rate:.3f} ± {(high - low) / 2:.3f}",
                growth.total,
                f"{100 * prediction_error(arm):.1f}",
                f"{100 * prediction_error(arm, 'variance'):.1f}",
            )
        )
    columns = (
        "network",
        "scheme",
        "growth",
        "factor per block",
        "in all",
        "error (%)",
        "of variance (%)",
    )
    note = (
        "Growth: of the mean square, which is the variance over weights and inputs. "
        "Factor: geometric mean and 95 % interval. Error: of the closed-form "
        "prediction, median over the blocks; then that of the variance over batch "
        "and space."
    )
    return [Table("Growth from block to block", columns, rows, note, labels=3)]


def _test_unnormalized(arm):
    growth, expected = fit_growth(mean_curve(arm)), predicted_rate(arm)
    low, high = growth.interval
    # Apart for the two families, as padding makes a difference.
    text = {
        "mlp": "Fully connected: with He initialization alone the mean square doubles "
        "with every block.",
        "convolutional": "Convolutional: it doubles but for what padding with "
        "zeros takes, as the closed form has it.",
    }[arm["family"]]
    return Claim(
        text,
        growth.kind == "exponential" and low <= expected <= high,
        f"{growth.kind}, x{growth.rate:.3f} per block, 95 % interval "
        f"{low:.3f} to {high:.3f}; the closed form says x{expected:.3f}",
    )


def _test_batch_norm(growth, first):
    step = growth.slope * first
    return (
        "With BatchNorm it grows linearly: every block adds about one unit.",
        growth.kind == "linear" and 0.8 < step < 1.25,
        f"{growth.kind}, {step:.2f} units per block",
    )


def _test_scaled_residual(growth, first):
    return (
        "With branches scaled by 1/sqrt(L) it stays below a factor e.",
        growth.kind == "bounded" and growth.total < math.e,
        f"{growth.kind}, x{growth.total:.2f} over all blocks",
    )


def _test_fixup(growth, first):
    return (
        "With Fixup it stays exactly what it is.",
        abs(growth.total - 1) < 1e-5,
        f"x{growth.total:.6f} over all blocks",
    )


_TESTS = {
    "batch_norm": _test_batch_norm,
    "scaled_residual": _test_scaled_residual,
    "fixup": _test_fixup,
}


def claims(results):
    made = [_test_unnormalized(a) for a in read.select(results, scheme="unnormalized")]
    for scheme, test in _TESTS.items():
        found = read.select(results, scheme=scheme)
        curves = [mean_curve(arm) for arm in found]
        tested = [test(fit_growth(curve), curve[0]) for curve in curves]
        if tested:
            evidence = "; ".join(
                f"{FAMILIES[arm['family']]}: {evidence}"
                for arm, (*_, evidence) in zip(found, tested, strict=True)
            )
            made.append(Claim(tested[0][0], all(t[1] for t in tested), evidence))
    rates = [
        (fit_growth(mean_curve(a)).rate, predicted_rate(a)) for a in results["arms"]
    ]
    errors = [abs(predicted / measured - 1) for measured, predicted in rates]
    if errors:
        worst = results["arms"][int(np.argmax(errors))]
        made.append(
            Claim(
                "All of it can be predicted in closed form, without running a network: "
                f"factors per block to within {100 * MARGIN:.0f} %.",
                max(errors) < MARGIN,
                f"off by at most {100 * max(errors):.2f} %, {_name(worst)}",
            )
        )
    return made


def _name(arm):
    return f"{FAMILIES[arm['family']]}, {style.scheme_style(arm['scheme'])['label']}"


def draw_growth(results):
    families = [family for family in FAMILIES if _of(results, family)]
    figure, (axes,) = style.new_figure(1, len(families), row_height=3.4)
    for axis, family in zip(axes, families, strict=True):
        found = _of(results, family)
        for index, arm in enumerate(found):
            curves = [read.numbers(curve) for curve in arm["mean_square"]]
            x = np.arange(len(curves[0]))
            panels.draw_curves(axis, x, curves, arm["scheme"], index, len(found))
            panels.draw_prediction(axis, x, arm["predicted_mean_square"])
        axis.set_yscale("log")
        axis.set(title=f"{FAMILIES[family]} networks", xlabel="block")
    axes[0].set_ylabel("mean square after the block")
    schemes = dict.fromkeys(arm["scheme"] for arm in results["arms"])
    handles = [panels.scheme_handle(scheme) for scheme in schemes]
    panels.legend_below(figure, [*handles, panels.prediction_handle()])
    return figure


def _of(results, family):
    return [arm for arm in results["arms"] if arm["family"] == family]


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=lambda settings: experiment.grid(
        family=settings.families, scheme=settings.schemes
    ),
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"variance_growth": draw_growth},
)

if __name__ == "__main__":
    EXPERIMENT.start()
