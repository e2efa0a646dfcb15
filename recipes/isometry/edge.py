"""The edge of chaos of tanh networks: growth of gradients, measured and predicted."""

import keras
import numpy as np
from matplotlib.patheffects import withStroke

from fixinit import theory
from fixinit.diagnostics import jacobian_spectrum
from recipes.common.experiment import select
from recipes.common.plotting import panels, style
from recipes.isometry.networks import equal_layers

DEPTH = 8


def measure_edge(settings, weight_variance, bias_variance):
    """Growth of squared lengths per layer of a tanh network, and its prediction."""
    field = theory.MeanField("tanh", weight_variance, bias_variance)
    q, chi = field.fixed_point(), float(field.gradient_factor())
    rng, units = np.random.default_rng(settings.seed), settings.units
    dense = keras.layers.Dense(units, activation="tanh")
    model = equal_layers([dense], DEPTH, (units,))
    for v in model.trainable_variables:
        variance = weight_variance / units if v.name == "kernel" else bias_variance
        v.assign(np.sqrt(variance) * rng.standard_normal(tuple(v.shape)))
    # As the network's own activations are at the fixed point.
    x = np.tanh(np.sqrt(q) * rng.standard_normal((settings.num_inputs, units)))
    mean_square = jacobian_spectrum(model, x).mean_square.mean()
    return {"chi": mean_square ** (1 / DEPTH), "predicted_chi": chi, "q": q}


def draw_edge(results):
    edge = select(results, scheme="edge")
    if not edge:
        return None
    figure, ((axis,),) = style.new_figure(1, 1, row_height=3.6)
    biases = 0.8 * np.linspace(0, 1, 21) ** 2
    curve = theory.edge_of_chaos("tanh", biases)[0]
    axis.plot(curve, biases, color=style.INK, label="edge of chaos, predicted")
    places = [(arm["weight_variance"], arm["bias_variance"]) for arm in edge]
    growth = np.log2([arm["chi"] for arm in edge])
    limit = np.abs(growth).max()
    colors = {"c": growth, "cmap": "PuOr_r", "vmin": -limit, "vmax": limit}
    rims = {"edgecolors": style.INK, "linewidths": 0.8}
    drawn = axis.scatter(*np.transpose(places), s=170, zorder=3, **colors, **rims)
    # So wide at least that there is space for the texts.
    axis.update_datalim([(0.5, 0), (4, 0)])
    for arm, place in zip(edge, places, strict=True):
        axis.annotate(
            f"{arm['chi']:.2f}",
            place,
            xytext=(0, 11),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    axis.autoscale_view()
    axis.set(
        ylim=(0, 0.8),
        xlabel="variance of a kernel times its fan-in",
        ylabel="variance of the biases",
    )
    axis.text(0.7, 0.72, "order: gradients vanish")
    axis.text(4.1, 0.42, "chaos: gradients explode", ha="right")
    panels.legend_below(figure, axis.get_legend_handles_labels()[0])
    figure.colorbar(drawn, ax=axis, label="measured growth per layer (log2)")
    return figure
