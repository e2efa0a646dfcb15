"""Choice of panels, lines, bands and crosses of schemes, and their legend entries."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from recipes.common.experiment.reading import band_of, mean_of
from recipes.common.plotting import panels
from recipes.common.plotting.style import INK
from recipes.common.plotting.variants import Schemes

MAX_PANELS = 4


def pick_depths(depths):
    """At most `MAX_PANELS` depths, evenly picked, the deepest always among them."""
    if len(depths) <= MAX_PANELS:
        return list(depths)
    indices = np.linspace(0, len(depths) - 1, MAX_PANELS).round().astype(int)
    return [depths[i] for i in indices]


def panel_title(depth, num_blocks):
    return f"depth {depth}, {num_blocks} block{'' if num_blocks == 1 else 's'}"


def draw_curves(axis, x, curves, scheme, index, count, linestyle=None):
    """The mean over seeds as a line, and a band from the lowest to the highest."""
    look = _look(scheme, linestyle)
    mean = mean_of(curves)
    x = np.asarray(x)[: len(mean)]
    finite = np.isfinite(mean)
    if len(curves) > 1:
        low, high = (np.where(finite, edge, np.nan) for edge in band_of(curves))
        axis.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
    axis.plot(
        x,
        np.where(finite, mean, np.nan),
        markevery=panels.staggered(len(x), index, count),
        # Earlier schemes are drawn wider, so that they show behind later ones.
        linewidth=2.6 - 1.2 * index / max(1, count - 1),
        zorder=3,
        **look,
    )
    return mean


def _look(scheme, linestyle):
    look = Schemes()[scheme].look
    return look if linestyle is None else look | {"linestyle": linestyle}


def draw_prediction(axis, x, y):
    axis.plot(x, y, zorder=4, **panels.PREDICTION)


def prediction_handle():
    return Line2D([], [], label="closed-form prediction", **panels.PREDICTION)


def cross(axis, x, y, scheme, **kwargs):
    """A cross that marks where something ended: divergence or overflow."""
    color = Schemes()[scheme].color
    rim = [withStroke(linewidth=3.5, foreground="white")]
    options = {"clip_on": False, "zorder": 6, "path_effects": rim} | kwargs
    axis.plot([x], [y], color=color, **panels.CROSS, **options)


def cross_handle(label):
    return Line2D([], [], color=INK, label=label, **panels.CROSS)


def overflow_label(results):
    """Which number format overflows: bfloat16 has the range of float32."""
    policy = str((results.get("config") or {}).get("mixed_precision"))
    return f"{'float16' if policy == 'mixed_float16' else 'float32'} overflow"


def scheme_handle(scheme, label=None, linestyle=None):
    """The legend's entry for a scheme."""
    label = label or Schemes()[scheme].label
    return Line2D([], [], label=label, **_look(scheme, linestyle))
