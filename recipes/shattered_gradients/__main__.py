"""Whether gradients shatter, and why the textbook's notebook 11.1 does not see it.

python -m recipes.shattered_gradients
"""

import dataclasses

import keras
import numpy as np

from fixinit.diagnostics.geometry import GradientCorrelation, ModelFunction
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, by, select, setting
from recipes.common.experiment.reading import depths
from recipes.common.plotting import style
from recipes.common.plotting.curves import Curves, Line, Panel
from recipes.shattered_gradients.networks import KINDS, build, redraw

NUM_INPUTS = 256
NUM_LAGS = 15
LINE = np.arange(-2, 2, 4 / NUM_INPUTS, dtype="float32")[:, None]


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    kinds: tuple[str, ...] = setting(
        tuple(KINDS), "Kinds of network to measure.", choices=tuple(KINDS)
    )
    depths: tuple[int, ...] = setting((1, 24, 50), "Numbers of hidden layers.")
    units: int = setting(200, "Width of every layer, even.", quick=50)
    num_seeds: int = setting(20, "Networks to average over.", quick=4)


def arms(settings):
    return experiment.grid(scheme=settings.kinds, depth=settings.depths)


def measure(settings, scheme, depth):
    model = build(scheme, depth, settings.units)
    function = ModelFunction(model, LINE)
    last = model.get_layer("last").output
    hidden = ModelFunction(keras.Model(model.input, last), LINE)
    curves, gradients, others = [], [], []
    for index in range(settings.num_seeds):
        redraw(model, scheme, [settings.seed, index])
        gradient = function.vjp(np.ones((NUM_INPUTS, 1)))
        curves.append(GradientCorrelation(gradient).autocorrelation(NUM_LAGS))
        gradients.append(gradient[:, 0])
        (units,) = hidden.outputs()
        numbers = (
            uncentered(gradients[-1]),
            coactive(units > 0),
            peak_share(gradients[-1]),
        )
        others.append(numbers)
    lag1 = np.array(curves)[:, 1]
    spread = lag1.std(ddof=1) if len(lag1) > 1 else np.nan
    means = np.nanmean(others, axis=0)
    return {
        "lag1": lag1.mean(),
        "lag1_error": spread / np.sqrt(len(lag1)),
        **dict(zip(("uncentered_lag1", "coactive", "peak_share"), means, strict=True)),
        "curve": np.mean(curves, axis=0),
        "gradient": gradients[0] / np.abs(gradients[0]).max(),
    }


def uncentered(gradient):
    """The autocorrelation at lag 1 as the notebook computes it."""
    return gradient[1:] @ gradient[:-1] / (gradient @ gradient)


def coactive(active):
    """How likely a unit that is active at one input is active at another one."""
    share = active.mean(axis=0)
    num = len(active)
    both = (share**2 * num - share) / (num - 1)
    return both.sum() / share.sum() if share.any() else np.nan


def peak_share(gradient):
    """What share of the gradient's square the steepest twentieth of the inputs has."""
    squares = np.sort((gradient / np.abs(gradient).max()) ** 2)
    return squares[-NUM_INPUTS // 20 :].sum() / squares.sum()


def label(arm):
    return KINDS[arm["scheme"]].label


def tables(results):
    columns = {
        "network": label,
        "layers": "depth",
        "lag 1": "lag1",
        "±": "lag1_error",
        "uncentered": "uncentered_lag1",
        "co-active": "coactive",
        "peaks": "peak_share",
    }
    return [Table.of("autocorrelation", results["arms"], columns)]


def claims(results):
    deep = max(depths(results))
    found = by(results, "scheme", depth=deep)
    if deep < 24:
        return
    lag = {kind: arm["lag1"] for kind, arm in found.items()}
    error = {kind: arm["lag1_error"] for kind, arm in found.items()}
    # White noise: independent values at all inputs of all networks.
    white = 3 / np.sqrt(NUM_INPUTS * results["config"]["num_seeds"])
    numbers = {"depth": deep, "found": found, "white": white}
    numbers["lag"] = {
        kind: f"{label(arm)} {lag[kind]:.2f} ± {error[kind]:.2f}"
        for kind, arm in found.items()
    }

    def verdict(name, held):
        return Verdict(name, held, **numbers)

    if found.keys() >= {kind for kind in KINDS if kind.startswith("feedforward")}:
        normalized = "feedforward_batch_norm"
        bound = white + 2 * error[normalized]
        yield verdict("white_noise", abs(lag[normalized]) < bound)
        plain = min(lag["feedforward"], lag["feedforward_glorot"])
        yield verdict("notebook_normalizes_nothing", plain > 0.6)
        alike, random = (found[x]["coactive"] for x in ("feedforward", normalized))
        yield verdict("coactivation", abs(random - 0.5) < 0.1 and alike > 0.9)
        centered, rescaled = lag["feedforward_centered"], lag["feedforward_rescaled"]
        yield verdict("mean_shatters", abs(centered) < 0.2 < 0.6 < rescaled)
    if "looks_linear" in found:
        yield verdict("looks_linear", lag["looks_linear"] == 1)
    if found.keys() >= KINDS.keys() - {"looks_linear"}:
        names = ("feedforward_batch_norm", "residual_batch_norm")
        plain, shortcuts = (lag[name] for name in names)
        scaled = lag["residual_batch_norm_scaled"]
        yield verdict("shortcuts", plain + 0.1 < shortcuts < scaled)
        residual = {kind: x for kind, x in lag.items() if kind.startswith("residual")}
        best = residual.pop("residual_scaled")
        yield verdict("scaled_is_best", best > max(residual.values()))
        yield verdict("behind", abs(lag["residual_batch_norm_behind"]) < 0.2)


DRAWN = (
    "feedforward",
    "feedforward_batch_norm",
    "residual_batch_norm",
    "residual_batch_norm_scaled",
    "residual_scaled",
    "looks_linear",
)


def layers(depth):
    return f"{depth} layer{'s' if depth > 1 else ''}"


def draw_gradients(results):
    kinds = [kind for kind in DRAWN if select(results, scheme=kind)]
    if not kinds:
        return None
    shown = depths(results)[:3]
    figure, axes = style.new_figure(
        len(kinds), len(shown), row_height=1.25, sharex=True, sharey=True
    )
    for row, kind in zip(axes, kinds, strict=True):
        for axis, depth in zip(row, shown, strict=True):
            for arm in select(results, scheme=kind, depth=depth):
                axis.plot(LINE[:, 0], arm["gradient"], color=style.INK, linewidth=0.8)
        row[0].set_title(KINDS[kind].label, fontsize=9)
    for axis, depth in zip(axes[-1], shown, strict=True):
        axis.set_xlabel(f"input x ({layers(depth)})")
    figure.supylabel("gradient dy/dx, over its largest magnitude", fontsize=9)
    return figure


AXES = {"xlabel": "lag (of 1/64 in x)", "ylabel": "autocorrelation of dy/dx"}
CURVES = Curves(
    Panel(Line("curve"), AXES, levels={"": 0}),
    variants=KINDS,
    facet="depth",
    facet_title=layers,
    facets=3,
    row_height=3.6,
)

EXPERIMENT = experiment.Experiment(
    __file__,
    Settings,
    arms,
    measure,
    claims,
    tables,
    {"gradients": draw_gradients, "autocorrelations": CURVES},
)

if __name__ == "__main__":
    EXPERIMENT.start()
