"""What figures share: logarithmic axes, places of markers, looks, legends."""

import math

from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

__all__ = ["CROSS", "Line2D", "PREDICTION", "legend_below", "set_log_axis", "staggered"]

# A thin dashed black line with a white rim, readable on top of any color.
PREDICTION = {
    "color": "black",
    "marker": "",
    "linestyle": (0, (3, 2.5)),
    "linewidth": 0.9,
    "path_effects": [withStroke(linewidth=1.9, foreground="white")],
}
# A cross that marks where something ended.
CROSS = {
    "marker": "x",
    "linestyle": "",
    "markersize": 7,
    "markeredgewidth": 2.0,
    "markeredgecolor": "auto",
    "markevery": 1,
}


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
