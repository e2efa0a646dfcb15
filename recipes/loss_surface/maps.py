"""Contour maps of slices of the loss."""

import numpy as np

from recipes.common.experiment.reading import depths, select
from recipes.common.plotting import style
from recipes.loss_surface.networks import KINDS
from recipes.loss_surface.slices import CHANCE

LEVELS = np.linspace(0, 2 * CHANCE, 13)


def draw_maps(results, name, first):
    """A map for every kind of network, from left to right, at every depth.

    Args:
        results: dict. The content of results.json.
        name: str. What of the arms is drawn: losses on a slice.
        first: str. What its first direction is called.
    """
    kinds = [kind for kind in KINDS if select(results, scheme=kind)]
    shown = depths(results)[:3]
    figure, axes = style.new_figure(
        len(shown), len(kinds), row_height=1.75, sharex=True, sharey=True
    )
    for row, depth in zip(axes, shown, strict=True):
        for axis, kind in zip(row, kinds, strict=True):
            (arm,) = select(results, scheme=kind, depth=depth)
            drawn = _draw_map(axis, np.array(arm[name]))
        row[0].set_ylabel(f"{depth} blocks\nsecond direction")
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.set_title(KINDS[kind].label.replace(" + ", "\n+ "), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(first)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, ticks=[0, CHANCE, 2 * CHANCE])
    bar.ax.set_yticklabels(["0", f"{CHANCE:.2f}", f"{2 * CHANCE:.2f}"])
    bar.set_label("loss (white line: a guess)")
    return figure


def _draw_map(axis, losses):
    points = np.linspace(-1, 1, len(losses))
    clipped = np.minimum(losses, 2 * CHANCE).T
    drawn = axis.contourf(points, points, clipped, LEVELS, cmap="viridis")
    axis.contour(points, points, clipped, [CHANCE], colors="white", linewidths=1.2)
    axis.plot([0], [0], "+", color="white")
    axis.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    axis.grid(False)
    return drawn
