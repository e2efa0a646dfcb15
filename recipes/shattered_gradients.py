"""Whether gradients shatter, and why the textbook's notebook 11.1 does not see it.

python -m recipes.shattered_gradients
"""

import dataclasses

import keras
import numpy as np
from keras import ops

import fixinit
from fixinit.diagnostics.geometry import GradientCorrelation, ModelFunction
from recipes.common import experiment
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import style

NUM_INPUTS = 256
NUM_LAGS = 15
LINE = np.arange(-2, 2, 4 / NUM_INPUTS, dtype="float32")[:, None]

# Kind of network: shortcuts, normalization, branch scale, gain of the kernels.
KINDS = {
    "feedforward": (False, None, 1.0, 2.0),
    "feedforward_glorot": (False, None, 1.0, 1.0),
    "feedforward_batch_norm": (False, "both", 1.0, 2.0),
    "feedforward_centered": (False, "mean", 1.0, 2.0),
    "feedforward_rescaled": (False, "variance", 1.0, 2.0),
    "looks_linear": (False, None, 1.0, 1.0),
    "residual": (True, None, 1.0, 2.0),
    "residual_scaled": (True, None, 0.1, 2.0),
    "residual_batch_norm": (True, "both", 1.0, 2.0),
    "residual_batch_norm_scaled": (True, "both", 0.1, 2.0),
    "residual_batch_norm_behind": (True, "both", 1.0, 2.0),
}
LABELS = {
    "feedforward": "Feedforward",
    "feedforward_glorot": "Feedforward, Glorot (notebook)",
    "feedforward_batch_norm": "Feedforward + BatchNorm",
    "feedforward_centered": "Feedforward, mean removed only",
    "feedforward_rescaled": "Feedforward, rescaled only",
    "looks_linear": "Looks-linear",
    "residual": "Residual",
    "residual_scaled": "Residual, branches x 0.1",
    "residual_batch_norm": "Residual + BatchNorm",
    "residual_batch_norm_scaled": "Residual + BatchNorm, x 0.1",
    "residual_batch_norm_behind": "Residual + BatchNorm behind ReLU",
}


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
    found = {name: [] for name in ("curve", "uncentered", "coactive", "peak")}
    for index in range(settings.num_seeds):
        redraw(model, scheme, [settings.seed, index])
        gradients = function.vjp(np.ones((NUM_INPUTS, 1)))
        correlation = GradientCorrelation(gradients)
        found["curve"].append(correlation.autocorrelation(NUM_LAGS))
        found["uncentered"].append(uncentered(gradients[:, 0]))
        (units,) = hidden.outputs()
        found["coactive"].append(coactive(units > 0))
        found["peak"].append(peak_share(gradients[:, 0]))
        if index == 0:
            example = gradients[:, 0]
    curves = np.array(found["curve"])
    spread = curves[:, 1].std(ddof=1) if len(curves) > 1 else np.nan
    return {
        "lag1": curves[:, 1].mean(),
        "lag1_error": spread / np.sqrt(len(curves)),
        "uncentered_lag1": np.mean(found["uncentered"]),
        "coactive": np.nanmean(found["coactive"]),
        "peak_share": np.mean(found["peak"]),
        "curve": curves.mean(axis=0),
        "gradient": example / np.abs(example).max(),
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


def build(kind, depth, units):
    """A network from a number to a number; `redraw` draws its weights."""
    shortcut, _, scale, _ = KINDS[kind]
    inputs = keras.Input((1,))
    x = keras.layers.Dense(units)(inputs)
    if depth > 1:
        block = fixinit.layers.ResidualBlock(
            hidden_layer(kind, units),
            merge=fixinit.layers.ScaledAdd(branch_scale=scale),
            plain=not shortcut,
        )
        x = fixinit.layers.Stack(block, depth - 1)(x)
        for layer in normalization(kind):
            x = layer(x)
    activation = activation_layer(kind, name="last")
    x = keras.layers.Dense(1)(activation(x))
    return keras.Model(inputs, x)


def hidden_layer(kind, units):
    layers = [*normalization(kind), activation_layer(kind)]
    if kind.endswith("behind"):
        layers.reverse()
    return [*layers, keras.layers.Dense(units)]


def normalization(kind):
    what = KINDS[kind][1]
    return [] if what is None else [Normalization(what)]


def activation_layer(kind, name=None):
    if kind == "looks_linear":
        return fixinit.layers.CReLU(name=name)
    return keras.layers.ReLU(name=name)


class Normalization(keras.layers.Layer):
    """Removes the mean of every unit over the inputs, its variance, or both.

    The derivative is that of the network that results, with statistics held fixed, as
    at test time.
    """

    def __init__(self, what, **kwargs):
        super().__init__(**kwargs)
        self.what = what

    def call(self, inputs):
        mean, variance = ops.moments(inputs, axes=0)
        mean, variance = ops.stop_gradient(mean), ops.stop_gradient(variance)
        x = inputs - mean if self.what != "variance" else inputs
        return x if self.what == "mean" else x * ops.rsqrt(variance + 1e-5)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "what": self.what}


def redraw(model, kind, seed):
    """Draws new weights: biases have the variance of the kernels."""
    rng = np.random.default_rng(seed)
    gain = KINDS[kind][3]
    units = model.layers[1].units
    for v in model.trainable_variables:
        shape = tuple(v.shape)
        is_stem = v.path.split("/")[-2] == model.layers[1].name
        # The notebook draws all alike; otherwise the stem keeps the input's size.
        variance = gain if is_stem and kind != "feedforward_glorot" else gain / units
        if kind == "looks_linear" and v.path.endswith("kernel") and not is_stem:
            v.assign(mirrored(shape, rng))
        else:
            v.assign(np.sqrt(variance) * rng.standard_normal(shape))


def mirrored(shape, rng):
    """Kernels [W, -W] with orthogonal W, stacked along the first axes if there are."""
    kernels = [
        ops.convert_to_numpy(
            fixinit.initializers.LooksLinear(seed=int(rng.integers(2**31)))(shape[-2:])
        )
        for _ in range(int(np.prod(shape[:-2])))
    ]
    return np.reshape(kernels, shape)


def tables(results):
    rows = [
        (
            LABELS[arm["scheme"]],
            arm["depth"],
            arm["lag1"],
            arm["lag1_error"],
            arm["uncentered_lag1"],
            arm["coactive"],
            arm["peak_share"],
        )
        for arm in results["arms"]
    ]
    columns = ("network", "layers", "lag 1", "±", "uncentered", "co-active", "peaks")
    note = (
        "Lag 1: autocorrelation of dy/dx at inputs 1/64 apart, mean over networks with "
        "its standard error; uncentered: the same without removing the mean, as the "
        "notebook does. Co-active: how likely a unit of the last layer that is active "
        "at one input is active at another, 0.5 for coin flips. Peaks: share of the "
        "squared gradient in the steepest 5 % of the inputs."
    )
    return [Table("Autocorrelation of gradients", columns, rows, note)]


def claims(results):
    deep = max(read.depths(results))
    found = {arm["scheme"]: arm for arm in read.select(results, depth=deep)}
    made = []
    if deep < 24:
        return made
    if all(kind in found for kind in KINDS if kind.startswith("feedforward")):
        made += claims_of_feedforward(found, results)
    if "looks_linear" in found:
        text = "A looks-linear network has one gradient for all inputs."
        same = found["looks_linear"]["lag1"] == 1
        made.append(Claim(text, same, show(found, "looks_linear")))
    if all(kind in found for kind in KINDS if kind != "looks_linear"):
        made += claims_of_residual(found)
    return made


def show(found, *kinds):
    """Autocorrelations at lag 1, as evidence."""
    texts = [
        f"{LABELS[kind]} {found[kind]['lag1']:.2f} ± {found[kind]['lag1_error']:.2f}"
        for kind in kinds
    ]
    return f"lag 1 at {found[kinds[0]]['depth']} layers: {', '.join(texts)}"


def claims_of_feedforward(found, results):
    lag = {kind: arm["lag1"] for kind, arm in found.items()}
    normalized = found["feedforward_batch_norm"]
    coactive = [found["feedforward"]["coactive"], normalized["coactive"]]
    # White noise: independent values at all inputs of all networks.
    white = 3 / np.sqrt(NUM_INPUTS * results["config"]["num_seeds"])
    return [
        Claim(
            "With normalization between the layers, the gradients of a deep "
            "feedforward network are nearly white noise (Balduzzi et al.).",
            abs(lag["feedforward_batch_norm"]) < white + 2 * normalized["lag1_error"],
            f"{show(found, 'feedforward_batch_norm')}; white noise: 0 to within "
            f"{white:.2f}",
        ),
        Claim(
            "Notebook 11.1 cannot replicate this because it normalizes nothing: "
            "without normalization, gradients do not shatter at that depth.",
            min(lag["feedforward"], lag["feedforward_glorot"]) > 0.6,
            show(found, "feedforward", "feedforward_glorot"),
        ),
        Claim(
            "The reason is co-activation: without normalization nearly the same units "
            "are active at all inputs; with it, they are like coin flips.",
            abs(coactive[1] - 0.5) < 0.1 and coactive[0] > 0.9,
            "an active unit is active at another input with probability "
            f"{coactive[0]:.2f} without and {coactive[1]:.2f} with normalization",
        ),
        Claim(
            "Removing the mean is what shatters; rescaling alone does not.",
            abs(lag["feedforward_centered"]) < 0.2 < 0.6 < lag["feedforward_rescaled"],
            show(found, "feedforward_centered", "feedforward_rescaled"),
        ),
    ]


def claims_of_residual(found):
    lag = {kind: arm["lag1"] for kind, arm in found.items()}
    peaks = found["residual_batch_norm_behind"]["peak_share"]
    return [
        Claim(
            "Shortcuts keep normalized networks from shattering, scaled branches more "
            "so.",
            lag["feedforward_batch_norm"] + 0.1
            < lag["residual_batch_norm"]
            < lag["residual_batch_norm_scaled"],
            show(found, "residual_batch_norm", "residual_batch_norm_scaled"),
        ),
        Claim(
            "Scaled branches without normalization shatter least of all residual "
            "networks.",
            all(
                lag["residual_scaled"] > lag[kind]
                for kind in KINDS
                if kind.startswith("residual") and kind != "residual_scaled"
            ),
            show(found, "residual_scaled", "residual_batch_norm_scaled", "residual"),
        ),
        Claim(
            "Behind the ReLU instead of in front of it, normalization shatters "
            "residual networks too.",
            abs(lag["residual_batch_norm_behind"]) < 0.2,
            f"{show(found, 'residual_batch_norm_behind')}; the steepest 5 % of the "
            f"inputs have {100 * peaks:.0f} % of the squared gradient",
        ),
    ]


# Color and line style; what shatters for one reason has one color.
LOOKS = {
    "feedforward": ("#1a1a1a", "-"),
    "feedforward_glorot": ("#1a1a1a", "--"),
    "feedforward_rescaled": ("#1a1a1a", ":"),
    "feedforward_batch_norm": ("#c0242e", "-"),
    "feedforward_centered": ("#c0242e", "--"),
    "looks_linear": ("#f0a030", "-"),
    "residual": ("#3b2f9b", "-"),
    "residual_scaled": ("#3b2f9b", "--"),
    "residual_batch_norm": ("#00877a", "-"),
    "residual_batch_norm_scaled": ("#00877a", "--"),
    "residual_batch_norm_behind": ("#cc79b4", "-"),
}
FIGURE_KINDS = (
    "feedforward",
    "feedforward_batch_norm",
    "residual_batch_norm",
    "residual_batch_norm_scaled",
    "residual_scaled",
    "looks_linear",
)


def draw_gradients(results):
    kinds = [k for k in FIGURE_KINDS if read.select(results, scheme=k)]
    depths = read.depths(results)[:3]
    if not kinds:
        return None
    figure, axes = style.new_figure(
        len(kinds), len(depths), row_height=1.25, sharex=True, sharey=True
    )
    for row, kind in zip(axes, kinds, strict=True):
        for axis, depth in zip(row, depths, strict=True):
            for arm in read.select(results, scheme=kind, depth=depth):
                axis.plot(LINE[:, 0], arm["gradient"], color=style.INK, linewidth=0.8)
        row[0].set_title(LABELS[kind], fontsize=9)
    for axis, depth in zip(axes[-1], depths, strict=True):
        axis.set_xlabel(f"input x ({depth} layer{'s' if depth > 1 else ''})")
    figure.supylabel("gradient dy/dx, over its largest magnitude", fontsize=9)
    return figure


def draw_autocorrelations(results):
    depths = read.depths(results)[:3]
    figure, axes = style.new_figure(1, len(depths), row_height=3.4, sharey=True)
    handles = {}
    for axis, depth in zip(axes[0], depths, strict=True):
        for arm in read.select(results, depth=depth):
            color, linestyle = LOOKS[arm["scheme"]]
            (line,) = axis.plot(
                arm["curve"],
                color=color,
                linestyle=linestyle,
                linewidth=1.4,
                label=LABELS[arm["scheme"]],
            )
            handles[line.get_label()] = line
        axis.axhline(0, color=style.MUTED, linewidth=0.8)
        axis.set_title(f"{depth} layer{'s' if depth > 1 else ''}")
        axis.set_xlabel("lag (of 1/64 in x)")
    axes[0, 0].set_ylabel("autocorrelation of dy/dx")
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3)
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"gradients": draw_gradients, "autocorrelations": draw_autocorrelations},
)

if __name__ == "__main__":
    EXPERIMENT.start()
