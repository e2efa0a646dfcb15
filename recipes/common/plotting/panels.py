"""What the figures share: choice of panels, lines, bands, labels and legends."""

import math

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from recipes.common.experiment import reading as read
from recipes.common.plotting.style import INK, scheme_style

MAX_PANELS = 4


def pick_depths(depths):
    """At most `MAX_PANELS` depths, evenly picked, the deepest always among them."""
    if len(depths) <= MAX_PANELS:
        return list(depths)
    indices = np.linspace(0, len(depths) - 1, MAX_PANELS).round().astype(int)
    return [depths[i] for i in indices]


def panel_title(depth, num_blocks):
    return f"depth {depth}, {num_blocks} block{'' if num_blocks == 1 else 's'}"


def set_log_axis(axis, limits):
    """A logarithmic axis; a short one gets ticks at 1, 2, 5, 10 as plain numbers."""
    axis.set_yscale("log")
    axis.set_ylim(limits)
    if limits[1] / limits[0] < 100:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axis.yaxis.set_minor_locator(NullLocator())


def staggered(length, index, count, marks=7):
    """Where to set the markers of curve `index` of `count`.

    Curves that lie on top of each other then show each its own markers.
    """
    step = max(1, math.ceil(length / marks))
    return (int(round(index * step / max(1, count))) % max(1, step), step)


def draw_curves(axis, x, curves, scheme, index, count, linestyle=None):
    """The mean over seeds as a line, and a band from the lowest to the highest."""
    style = scheme_style(scheme)
    mean = read.mean_of(curves)
    x = np.asarray(x)[: len(mean)]
    finite = np.isfinite(mean)
    if len(curves) > 1:
        low, high = read.band_of(curves)
        axis.fill_between(
            x,
            np.where(finite, low, np.nan),
            np.where(finite, high, np.nan),
            color=style["color"],
            alpha=0.18,
            linewidth=0,
        )
    axis.plot(
        x,
        np.where(finite, mean, np.nan),
        color=style["color"],
        linestyle=linestyle or style["linestyle"],
        marker=style["marker"],
        markersize=_marker_size(style["marker"]),
        markevery=staggered(len(x), index, count),
        markeredgecolor="white",
        markeredgewidth=0.6,
        # Earlier schemes are drawn wider, so that they show behind later ones.
        linewidth=2.6 - 1.2 * index / max(1, count - 1),
        zorder=3,
    )
    return mean


def _marker_size(marker):
    # A star's area is small for its width.
    return 9.0 if marker == "*" else 5.5


def draw_prediction(axis, x, y):
    """A thin dashed black line with a white rim, readable on top of any color."""
    axis.plot(x, y, zorder=4, **PREDICTION)


PREDICTION = {
    "color": "black",
    "marker": "",
    "linestyle": (0, (3, 2.5)),
    "linewidth": 0.9,
    "path_effects": [withStroke(linewidth=1.9, foreground="white")],
}


def prediction_handle(label="closed-form prediction"):
    return Line2D([], [], label=label, **PREDICTION)


def cross(axis, x, y, scheme, **kwargs):
    """A cross that marks where something ended: divergence or overflow."""
    color = scheme_style(scheme)["color"]
    rim = [withStroke(linewidth=3.5, foreground="white")]
    options = {"clip_on": False, "zorder": 6, "path_effects": rim} | kwargs
    axis.plot([x], [y], color=color, **CROSS, **options)


CROSS = {
    "marker": "x",
    "linestyle": "",
    "markersize": 7,
    "markeredgewidth": 2.0,
    "markeredgecolor": "auto",
    "markevery": 1,
}


def overflow_label(results):
    """Which number format overflows: bfloat16 has the range of float32."""
    policy = str((results.get("config") or {}).get("mixed_precision"))
    return f"{'float16' if policy == 'mixed_float16' else 'float32'} overflow"


def cross_handle(label):
    return Line2D([], [], color=INK, label=label, **CROSS)


def scheme_handle(scheme, label=None, linestyle=None):
    """The legend's entry for a scheme."""
    style = scheme_style(scheme)
    return Line2D(
        [],
        [],
        color=style["color"],
        linestyle=linestyle or style["linestyle"],
        marker=style["marker"],
        markersize=_marker_size(style["marker"]),
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=label or style["label"],
    )


def legend_below(figure, handles):
    """One legend for the whole figure, outside every panel, as wide as fits."""
    for columns in range(min(len(handles), 5), 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            handlelength=2.8,
            columnspacing=1.6,
        )
        width = legend.get_window_extent(figure.canvas.get_renderer()).width
        if width <= figure.bbox.width or columns == 1:
            return
        legend.remove()


def label_line_ends(axis, ends, gap=0.07):
    """Names written to the right of the lines that they belong to.

    Args:
        axis: The axes, whose limits are final.
        ends: A list of `(scheme, y, text)`, y in data units.
        gap: float. Smallest distance between two labels, as part of the height.
    """
    to_axes = axis.transData + axis.transAxes.inverted()
    x_end = axis.get_xlim()[1]
    heights = [to_axes.transform((x_end, y))[1] for _, y, _ in ends]
    # Where heights are equal, the first scheme is written on top.
    order = sorted(range(len(ends)), key=lambda i: (round(heights[i], 3), -i))
    spread = _spread([heights[i] for i in order], gap)
    for i, position in zip(order, spread, strict=True):
        scheme, _, text = ends[i]
        axis.annotate(
            text,
            xy=(1.0, heights[i]),
            xytext=(1.07, position),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": scheme_style(scheme)["color"],
                "linewidth": 1.4,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _spread(heights, gap):
    """Moves sorted heights apart until neighbors differ by `gap`, as little as can be.

    Groups that touch are merged and stay centered on where they wanted to be.
    """
    groups = []
    for height in heights:
        groups.append(([height], height))
        while len(groups) > 1 and _top(groups[-2], gap) > _bottom(groups[-1], gap):
            members = groups[-2][0] + groups[-1][0]
            groups[-2:] = [(members, float(np.mean(members)))]
    return [
        center + (i - (len(members) - 1) / 2) * gap
        for members, center in groups
        for i in range(len(members))
    ]


def _top(group, gap):
    return group[1] + len(group[0]) * gap / 2


def _bottom(group, gap):
    return group[1] - len(group[0]) * gap / 2
