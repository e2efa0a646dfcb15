"""Singular values of the Jacobian with depth: which networks keep lengths.

python -m recipes.isometry
"""

import contextlib
import dataclasses

import keras
import numpy as np
from matplotlib.patheffects import withStroke

import fixinit
from fixinit.diagnostics import jacobian_spectrum
from recipes.common import experiment
from recipes.common.experiment import Claim
from recipes.common.experiment import reading as read
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table
from recipes.common.plotting import panels, style

LABELS = {
    "he_relu": "Gaussian, ReLU (He)",
    "orthogonal_relu": "Orthogonal, ReLU",
    "looks_linear": "Looks-linear, CReLU",
    "gaussian_tanh": "Gaussian, tanh",
    "orthogonal_tanh": "Orthogonal, tanh",
    "gaussian_convolution": "Gaussian convolutions, tanh",
    "delta_orthogonal": "Delta-orthogonal convolutions, tanh",
    "unnormalized": "Residual, He alone",
    "scaled_residual": "Residual, branches x 1/sqrt(L)",
    "fixup": "Fixup",
}
SCHEMES = ("unnormalized", "scaled_residual", "fixup")
# Small inputs to tanh, where it is nearly linear and the edge of chaos near 1.
TANH_INPUT = 0.1
LENGTH = 8  # Positions of the convolutional networks.
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)
FLOOR = 1e-12  # What is below it is drawn there.


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    kinds: tuple[str, ...] = setting(
        tuple(LABELS), "Kinds of network to measure.", choices=tuple(LABELS)
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
    made = experiment.grid(scheme=settings.kinds, depth=settings.depths)
    edge = [
        {"scheme": "edge", "weight_variance": w, "bias_variance": b}
        for b in settings.bias_variances
        for w in settings.weight_variances
    ]
    return made + edge


@contextlib.contextmanager
def double_precision():
    """Networks in float64: Jacobians of deep ones span more than float32 resolves.

    JAX stays at float32, unless JAX_ENABLE_X64 is set.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def measure(settings, scheme, **arm):
    if scheme == "edge":
        return measure_edge(settings, **arm)
    with double_precision():
        model, x = build(settings, scheme, arm["depth"])
        spectrum = jacobian_spectrum(model, x)
        dtype = keras.backend.standardize_dtype(model(x[:1]).dtype)
    values = spectrum.singular_values
    quantiles = np.quantile(values, QUANTILES)
    return {
        "mean_square": spectrum.mean_square.mean(),
        "smallest": quantiles[0],
        "median": quantiles[2],
        "largest": quantiles[-1],
        "quantiles": quantiles,
        "resolution": np.finfo(dtype).eps,
    }


def build(settings, kind, depth):
    """A network without stem and head, and inputs for it."""
    rng = np.random.default_rng(settings.seed)
    if kind in SCHEMES:
        model = fixinit.models.ResidualMLP(
            depth,
            settings.units,
            scheme=kind,
            input_shape=(settings.units,),
            seed=settings.seed,
            stacked=depth > 1,
        )
        blocks = model.get_layer("blocks" if depth > 1 else "block1")
        x = rng.standard_normal((settings.num_inputs, settings.units))
        return keras.Model(blocks.input, blocks.output), x
    convolutional = kind in ("gaussian_convolution", "delta_orthogonal")
    shape = (LENGTH, settings.units // 8) if convolutional else (settings.units,)
    block = fixinit.layers.ResidualBlock(layers(kind, shape[-1]), plain=True)
    model = keras.Sequential([keras.Input(shape), fixinit.layers.Stack(block, depth)])
    x = rng.standard_normal((settings.num_inputs, *shape))
    return model, x if "relu" in kind else TANH_INPUT * x


def layers(kind, units):
    """One layer: activation and weights, in the order that keeps the width."""
    initializers = {
        "he_relu": keras.initializers.VarianceScaling(
            2.0, distribution="untruncated_normal", seed=0
        ),
        "orthogonal_relu": keras.initializers.Orthogonal(np.sqrt(2), seed=0),
        "looks_linear": fixinit.initializers.LooksLinear(seed=0),
        "orthogonal_tanh": keras.initializers.Orthogonal(seed=0),
        "delta_orthogonal": fixinit.initializers.DeltaOrthogonal(seed=0),
    }
    gaussian = keras.initializers.VarianceScaling(
        1.0, distribution="untruncated_normal", seed=0
    )
    options = {"kernel_initializer": initializers.get(kind, gaussian)}
    options["use_bias"] = False
    if kind == "looks_linear":
        return [fixinit.layers.CReLU(), keras.layers.Dense(units, **options)]
    if kind in ("gaussian_convolution", "delta_orthogonal"):
        weights = keras.layers.Conv1D(units, 3, padding="same", **options)
    else:
        weights = keras.layers.Dense(units, **options)
    return [weights, keras.layers.Activation("relu" if "relu" in kind else "tanh")]


def measure_edge(settings, weight_variance, bias_variance):
    """Growth of squared lengths per layer of a tanh network, and its prediction."""
    depth, units = 8, settings.units
    field = fixinit.theory.MeanField("tanh", weight_variance, bias_variance)
    q, chi = field.fixed_point(), float(field.gradient_factor())
    rng = np.random.default_rng(settings.seed)
    dense = keras.layers.Dense(units, activation="tanh")
    block = fixinit.layers.ResidualBlock([dense], plain=True)
    model = keras.Sequential(
        [keras.Input((units,)), fixinit.layers.Stack(block, depth)]
    )
    for v in model.trainable_variables:
        variance = bias_variance
        if v.path.endswith("kernel"):
            variance = weight_variance / units
        v.assign(np.sqrt(variance) * rng.standard_normal(tuple(v.shape)))
    # As the network's own activations are at the fixed point.
    x = np.tanh(np.sqrt(q) * rng.standard_normal((settings.num_inputs, units)))
    mean_square = jacobian_spectrum(model, x).mean_square.mean()
    return {"chi": mean_square ** (1 / depth), "predicted_chi": chi, "q": q}


def spectra(results):
    return [arm for arm in results["arms"] if arm["scheme"] != "edge"]


def tables(results):
    rows = [
        (LABELS[a["scheme"]], a["depth"])
        + tuple(a[name] for name in ("smallest", "median", "largest", "mean_square"))
        for a in spectra(results)
    ]
    columns = ("network", "layers", "smallest", "median", "largest", "mean square")
    note = (
        "What is below 1e-16 of the largest value, or 1e-7 on backends without "
        "float64, is rounding. Mean square: over all singular values, mean over "
        "inputs; the others are those of all inputs together."
    )
    title = "Singular values of the Jacobian"
    made = [Table(title, columns, rows, note)] if rows else []
    edge = read.select(results, scheme="edge")
    if edge:
        names = ("weight_variance", "bias_variance", "q", "chi", "predicted_chi")
        rows = [tuple(arm[name] for name in names) for arm in edge]
        columns = ("weight variance", "bias variance", "q*", "chi", "predicted chi")
        note = (
            "chi: factor by which squared lengths of gradients grow in a layer of a "
            "tanh network; 1 is the edge of chaos."
        )
        made.append(Table("Edge of chaos", columns, rows, note))
    return made


def claims(results):
    depths = sorted({arm["depth"] for arm in spectra(results)})
    found = {a["scheme"]: a for a in spectra(results) if a["depth"] == depths[-1]}
    made = []
    if depths and depths[-1] >= 16 and set(found) >= set(LABELS):
        made += claims_of_spectra(found, depths[-1])
    edge = read.select(results, scheme="edge")
    if edge:
        error = max(abs(a["chi"] / a["predicted_chi"] - 1) for a in edge)
        text = "Mean-field theory predicts how much gradients grow in a layer: chi_1."
        evidence = (
            f"measured growth of {len(edge)} tanh networks of 8 layers "
            f"within {100 * error:.1f} % of it"
        )
        made.append(Claim(text, error < 0.05, evidence))
    return made


def rounding(arm):
    """What smaller singular values cannot be told from."""
    return arm["resolution"] * arm["largest"]


def resolved(arm, name):
    value = arm[name]
    return f"{value:.2g}" if value > rounding(arm) else "0 but for rounding"


def claims_of_spectra(found, depth):
    def spread(kind):
        quantiles = found[kind]["quantiles"]
        return quantiles[3] / max(quantiles[1], rounding(found[kind]))

    def spreads(*kinds):
        first, second = map(spread, kinds)
        return f"90 % over 10 % quantile: {first:.2f} and at least {second:.0e}"

    def show(*kinds):
        texts = [
            f"{LABELS[k]}: median {resolved(found[k], 'median')}, largest "
            f"{found[k]['largest']:.2g}, mean square {found[k]['mean_square']:.2g}"
            for k in kinds
        ]
        return f"at {depth}: " + "; ".join(texts)

    def near_one(errors):
        return f"within {max(errors):.0e} of 1" if max(errors) else "exactly 1"

    ones = [abs(found["fixup"][k] - 1) for k in ("smallest", "largest")]
    linear = [abs(found["looks_linear"][k] - 1) for k in ("smallest", "largest")]
    bound = (1 + 1 / depth) ** depth
    doublings = np.log2(found["unnormalized"]["mean_square"])
    return [
        Claim(
            "He initialization keeps the mean square of the singular values and "
            "nothing else: most vanish, a few grow.",
            found["he_relu"]["median"] < 0.1 < 1 < found["he_relu"]["largest"]
            # The mean over all networks is 1; one of finite width is near it.
            and 0.5 < found["he_relu"]["mean_square"] < 2,
            show("he_relu") + "; 1 on average over networks",
        ),
        Claim(
            "Orthogonal weights do not make a ReLU network isometric.",
            found["orthogonal_relu"]["median"] < 0.1,
            show("orthogonal_relu"),
        ),
        Claim(
            "Orthogonal weights make a tanh network nearly isometric, Gaussian ones "
            "do not.",
            spread("orthogonal_tanh") < 2 < 10 < spread("gaussian_tanh"),
            f"{spreads('orthogonal_tanh', 'gaussian_tanh')}; "
            + show("orthogonal_tanh", "gaussian_tanh"),
        ),
        Claim(
            "Delta-orthogonal kernels do the same for convolutions.",
            spread("delta_orthogonal") < 2 < 10 < spread("gaussian_convolution"),
            f"{spreads('delta_orthogonal', 'gaussian_convolution')}; "
            + show("delta_orthogonal", "gaussian_convolution"),
        ),
        Claim(
            "Looks-linear networks are isometric at any depth.",
            max(linear) < 1e-3,
            f"at {depth} layers all are {near_one(linear)}",
        ),
        Claim(
            "Fixup's blocks are isometric at any depth.",
            max(ones) < 1e-4,
            f"at {depth} blocks all are {near_one(ones)}",
        ),
        Claim(
            "Shortcuts with branches scaled by 1/sqrt(L) keep the mean square near "
            "(1 + 1/L)^L < e; with He initialization alone it is near 2^L.",
            abs(found["scaled_residual"]["mean_square"] / bound - 1) < 0.1
            and abs(doublings / depth - 1) < 0.1,
            show("scaled_residual")
            + f", where (1 + 1/L)^L = {bound:.2f}; He alone: 2^{doublings:.1f}",
        ),
    ]


def draw_spectra(results):
    arms = spectra(results)
    kinds = list(dict.fromkeys(arm["scheme"] for arm in arms))
    if not kinds:
        return None
    rows = -(-len(kinds) // 2)
    figure, axes = style.new_figure(rows, 2, row_height=1.7, sharex=True, sharey=True)
    for axis, kind in zip(axes.flat, kinds, strict=False):
        chosen = read.select(results, scheme=kind)
        depths = [arm["depth"] for arm in chosen]
        floors = [max(rounding(arm), FLOOR) for arm in chosen]
        low, tenth, median, ninetieth, high = np.maximum(
            np.transpose([arm["quantiles"] for arm in chosen]), floors
        )
        axis.fill_between(depths, low, high, color="#00877a", alpha=0.15, linewidth=0)
        axis.fill_between(
            depths, tenth, ninetieth, color="#00877a", alpha=0.35, linewidth=0
        )
        axis.plot(depths, median, color="#00877a", marker="o", markersize=4)
        axis.axhline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
        axis.set_title(LABELS[kind])
        axis.set_xscale("log", base=2)
        axis.set_xticks(depths, [str(d) for d in depths])
        axis.set_yscale("log")
        axis.set_ylim(FLOOR, 1 / FLOOR)
        axis.set_yticks([1e-12, 1e-6, 1, 1e6, 1e12])
    for axis in axes[-1]:
        axis.set_xlabel("layers, or residual blocks")
    figure.supylabel("singular value of the Jacobian", fontsize=9)
    return figure


def draw_edge(results):
    edge = read.select(results, scheme="edge")
    if not edge:
        return None
    figure, axes = style.new_figure(1, 1, row_height=3.6)
    axis = axes[0, 0]
    biases = 0.8 * np.linspace(0, 1, 21) ** 2
    curve = [fixinit.theory.edge_of_chaos("tanh", bias)[0] for bias in biases]
    axis.plot(curve, biases, color=style.INK, label="edge of chaos, predicted")
    growth = np.log2([arm["chi"] for arm in edge])
    limit = np.abs(growth).max()
    drawn = axis.scatter(
        [arm["weight_variance"] for arm in edge],
        [arm["bias_variance"] for arm in edge],
        c=growth,
        cmap="PuOr_r",
        vmin=-limit,
        vmax=limit,
        s=170,
        edgecolors=style.INK,
        linewidths=0.8,
        zorder=3,
    )
    for arm in edge:
        place = (arm["weight_variance"], arm["bias_variance"])
        axis.annotate(
            f"{arm['chi']:.2f}",
            place,
            xytext=(0, 11),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    axis.set_ylim(0, 0.8)
    axis.set_xlabel("variance of a kernel times its fan-in")
    axis.set_ylabel("variance of the biases")
    axis.text(0.7, 0.72, "order: gradients vanish")
    axis.text(4.1, 0.42, "chaos: gradients explode", ha="right")
    panels.legend_below(figure, axis.get_legend_handles_labels()[0])
    bar = figure.colorbar(drawn, ax=axis)
    bar.set_label("measured growth per layer (log2)")
    return figure


EXPERIMENT = experiment.Experiment(
    __file__,
    settings=Settings,
    arms=arms,
    measure=measure,
    tables=tables,
    claims=claims,
    figures={"spectra": draw_spectra, "edge_of_chaos": draw_edge},
)

if __name__ == "__main__":
    EXPERIMENT.start()
