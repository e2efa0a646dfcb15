"""Singular values of the Jacobian with depth: which networks keep lengths.

python -m recipes.isometry
"""

import dataclasses

import keras
import numpy as np

from fixinit.diagnostics import jacobian_spectrum
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, by, select, setting
from recipes.common.plotting import style
from recipes.isometry.edge import draw_edge, measure_edge
from recipes.isometry.networks import KINDS, build, double_precision

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
FLOOR = 1e-12  # What is below it is drawn there.


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    kinds: tuple[str, ...] = setting(
        tuple(KINDS), "Kinds of network to measure.", choices=tuple(KINDS)
    )
    depths: tuple[int, ...] = setting(
        (1, 4, 16, 64), "Numbers of layers, or of residual blocks.", quick=(1, 4)
    )
    units: int = setting(128, "Width of dense networks.", at_least=8, quick=32)
    num_inputs: int = setting(4, "Inputs to take the Jacobian at.", quick=2)
    weight_variances: tuple[float, ...] = setting(
        (0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
        "Edge of chaos: variances of the kernels, times fan-in.",
        quick=(1.0, 3.0),
    )
    bias_variances: tuple[float, ...] = setting(
        (0.05, 0.2, 0.6), "Edge of chaos: variances of the biases.", quick=(0.2,)
    )


def arms(settings):
    edge = [
        {"scheme": "edge", "weight_variance": weight, "bias_variance": bias}
        for bias in settings.bias_variances
        for weight in settings.weight_variances
    ]
    return experiment.grid(scheme=settings.kinds, depth=settings.depths) + edge


def measure(settings, scheme, **arm):
    if scheme == "edge":
        return measure_edge(settings, **arm)
    with double_precision():
        model, x = build(settings, scheme, arm["depth"])
        spectrum = jacobian_spectrum(model, x)
        dtype = keras.backend.standardize_dtype(model(x[:1]).dtype)
    quantiles = np.quantile(spectrum.singular_values, QUANTILES)
    return {
        "mean_square": spectrum.mean_square.mean(),
        "smallest": quantiles[0],
        "median": quantiles[2],
        "largest": quantiles[-1],
        "quantiles": quantiles,
        "resolution": np.finfo(dtype).eps,
    }


def spectra(results):
    return [arm for arm in results["arms"] if arm["scheme"] != "edge"]


def rounding(arm):
    """What smaller singular values cannot be told from."""
    return arm["resolution"] * arm["largest"]


def label(arm):
    return KINDS[arm["scheme"]].label


def tables(results):
    if found := spectra(results):
        same = ("smallest", "median", "largest")
        columns = {"network": label, "layers": "depth"} | {name: name for name in same}
        yield Table.of("spectra", found, columns | {"mean square": "mean_square"})
    if edge := select(results, scheme="edge"):
        columns = {
            "weight variance": "weight_variance",
            "bias variance": "bias_variance",
        }
        columns |= {"q*": "q", "chi": "chi", "predicted chi": "predicted_chi"}
        yield Table.of("edge", edge, columns)


def claims(results):
    depth = max((arm["depth"] for arm in spectra(results)), default=0)
    found = by({"arms": spectra(results)}, "scheme", depth=depth)
    if depth >= 16 and set(found) >= set(KINDS):
        yield from claims_of_spectra(found, depth)
    if edge := select(results, scheme="edge"):
        error = max(abs(arm["chi"] / arm["predicted_chi"] - 1) for arm in edge)
        yield Verdict("mean_field", error < 0.05, error=error, count=len(edge))


def claims_of_spectra(found, depth):
    wide = {kind: spread(arm) for kind, arm in found.items()}
    error = {kind: deviation(arm) for kind, arm in found.items()}
    he, bound = found["he_relu"], (1 + 1 / depth) ** depth
    growth = found["scaled_residual"]["mean_square"] / bound
    doublings = np.log2(found["unnormalized"]["mean_square"])
    # The mean over all networks is 1; one of finite width is near it.
    keeps_mean = 0.5 < he["mean_square"] < 2
    verdicts = {
        "he": he["median"] < 0.1 < 1 < he["largest"] and keeps_mean,
        "relu": found["orthogonal_relu"]["median"] < 0.1,
        "tanh": wide["orthogonal_tanh"] < 2 < 10 < wide["gaussian_tanh"],
        "delta": wide["delta_orthogonal"] < 2 < 10 < wide["gaussian_convolution"],
        "looks_linear": error["looks_linear"] < 1e-3,
        "fixup": error["fixup"] < 1e-4,
        "scaled": abs(growth - 1) < 0.1 and abs(doublings / depth - 1) < 0.1,
    }
    numbers = {"depth": depth, "bound": bound, "doublings": doublings}
    numbers |= {"wide": wide, "error": error, "shown": show(found)}
    return [Verdict(name, held, **numbers) for name, held in verdicts.items()]


def spread(arm):
    """The 90 % over the 10 % quantile, at least."""
    _, tenth, _, ninetieth, _ = arm["quantiles"]
    return ninetieth / max(tenth, rounding(arm))


def deviation(arm):
    """How far from 1 singular values are at most."""
    return max(abs(arm[name] - 1) for name in ("smallest", "largest"))


def show(found):
    """The singular values of every kind in words."""
    texts = {}
    for kind, arm in found.items():
        median = f"{arm['median']:.2g}"
        if arm["median"] <= rounding(arm):
            median = "0 but for rounding"
        ends = f"largest {arm['largest']:.2g}, mean square {arm['mean_square']:.2g}"
        texts[kind] = f"{label(arm)}: median {median}, {ends}"
    return texts


def draw_spectra(results):
    kinds = list(dict.fromkeys(arm["scheme"] for arm in spectra(results)))
    if not kinds:
        return None
    figure, axes = style.new_figure(
        -(-len(kinds) // 2), 2, row_height=1.7, sharex=True, sharey=True
    )
    for axis, kind in zip(axes.flat, kinds, strict=False):
        found, color = select(results, scheme=kind), KINDS[kind].color
        depths = [arm["depth"] for arm in found]
        floors = [max(rounding(arm), FLOOR) for arm in found]
        quantiles = np.transpose([arm["quantiles"] for arm in found])
        low, tenth, median, ninetieth, high = np.maximum(quantiles, floors)
        for band, alpha in (((low, high), 0.15), ((tenth, ninetieth), 0.35)):
            axis.fill_between(depths, *band, color=color, alpha=alpha, linewidth=0)
        axis.plot(depths, median, color=color, marker="o", markersize=4)
        axis.axhline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
        axis.set(title=KINDS[kind].label, yscale="log", ylim=(FLOOR, 1 / FLOOR))
        axis.set_xscale("log", base=2)
        axis.set_xticks(depths, [str(depth) for depth in depths])
        axis.set_yticks([1e-12, 1e-6, 1, 1e6, 1e12])
    for axis in axes.flat[len(kinds) :]:
        axis.set_visible(False)
    # Of an odd number of panels, the last two are in two rows.
    for axis in axes.flat[len(kinds) - 2 : len(kinds)]:
        axis.tick_params(labelbottom=True)
    figure.supxlabel("layers, or residual blocks", fontsize=9)
    figure.supylabel("singular value of the Jacobian", fontsize=9)
    return figure


FIGURES = {"spectra": draw_spectra, "edge_of_chaos": draw_edge}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()
