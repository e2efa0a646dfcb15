"""Final train loss over depth and learning rate, with the region that trains."""

import math

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from recipes.common.experiment import reading as read
from recipes.common.plotting.style import INK, new_figure, scheme_style
from recipes.compare_stability.reading import chance_loss, last_value

TITLE = "Which learning rates train"
CAPTION = (
    "Final train loss of short runs, for each scheme over depth and learning rate, "
    "mean over the seeds of the map. Hatched cells with a cross diverged (with a "
    "fraction: so many of the seeds). The heavy line encloses the stable region: "
    "every seed finished with a loss below that of a network that guesses, ln(number "
    "of classes). A dot marks the rate that the full runs used."
)
ALT = (
    "Heat maps of the final train loss over depth and learning rate, one for each "
    "scheme; cells that diverged are hatched and the stable region is outlined."
)

_COLUMNS = 3


def draw(results):
    """The figure, or `None` where the results hold no map."""
    schemes = read.schemes(results, "map")
    if not schemes:
        return None
    depths = read.depths(results, "map")
    rates = sorted({arm["learning_rate"] for arm in read.select(results, "map")})
    cells = {scheme: _cells(results, scheme, depths, rates) for scheme in schemes}
    chance = chance_loss(results)
    losses = [loss for grid in cells.values() for loss, *_ in grid.values()]
    losses = [loss for loss in losses if math.isfinite(loss)]
    norm = _norm(losses, chance)
    columns = min(_COLUMNS, len(schemes))
    rows = math.ceil(len(schemes) / columns)
    figure, axes = new_figure(
        rows,
        columns,
        width=1.6 + columns * max(2.0, 0.52 * len(rates)),
        # A single row also holds the legend and the color bar's label.
        row_height=max(2.4 if rows == 1 else 1.5, 0.85 + 0.36 * len(depths)),
    )
    cmap = matplotlib.colormaps["cividis_r"]
    for index, axis in enumerate(axes.flat):
        if index >= len(schemes):
            axis.set_visible(False)
            continue
        scheme = schemes[index]
        _draw_cells(axis, cells[scheme], cmap, norm)
        _outline(axis, {key for key, c in cells[scheme].items() if c[2]})
        _mark_chosen(axis, results, scheme, depths, rates)
        _label(axis, depths, rates)
        axis.set_title(scheme_style(scheme)["label"])
        if index % columns == 0:
            axis.set_ylabel("depth")
        if index + columns >= len(schemes):
            axis.set_xlabel("learning rate")
    if losses:
        figure.colorbar(
            ScalarMappable(norm, cmap),
            ax=axes,
            label="final train loss (nats)",
            extend="max" if max(losses, default=0.0) > norm.vmax else "neither",
            fraction=0.05,
            aspect=25,
        )
    _legend(figure, chance)
    return figure


def _cells(results, scheme, depths, rates):
    """`{(row, column): (loss, fraction that diverged, stable)}`."""
    cells = {}
    limit = chance_loss(results) or math.inf
    for row, depth in enumerate(depths):
        for column, rate in enumerate(rates):
            arms = read.select(results, "map", scheme, depth)
            arms = [arm for arm in arms if arm["learning_rate"] == rate]
            if not arms:
                continue
            losses = [last_value(arm, "train_loss") for arm in arms]
            finite = [loss for loss in losses if math.isfinite(loss)]
            diverged = sum(bool(arm.get("diverged")) for arm in arms)
            cells[row, column] = (
                float(np.mean(finite)) if finite else math.nan,
                (diverged, len(arms)),
                all(loss < limit for loss in losses),
            )
    return cells


def _norm(losses, chance):
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    # Losses above that of guessing all mean the same; do not spend colors on them.
    high = min(high, chance) if chance and low < chance else high
    return Normalize(low, high if high > low else low + 1.0)


def _draw_cells(axis, cells, cmap, norm):
    axis.grid(False)
    for (row, column), (loss, (diverged, count), _) in cells.items():
        corner = (column - 0.5, row - 0.5)
        failed = math.isnan(loss)
        face = "white" if failed else cmap(norm(loss))
        hatch = "////" if diverged else None
        axis.add_patch(
            Rectangle(
                corner,
                1,
                1,
                facecolor=face,
                edgecolor="#b0b0b0",
                hatch=hatch,
                linewidth=0,
            )
        )
        text = "×" if failed else f"{loss:.2f}" if loss < 100 else f"{loss:.0e}"
        if 0 < diverged < count:
            text += f"\n×{diverged}/{count}"
        dark = not failed and np.dot(face[:3], (0.2126, 0.7152, 0.0722)) < 0.5
        axis.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=13 if failed else 7,
            color="white" if dark else INK,
        )


def _outline(axis, stable):
    """A heavy line along the border of a set of cells."""
    # Each side of a cell: the neighbor beyond it and the ends of the side.
    sides = {
        (-1, 0): ((-0.5, 0.5), (-0.5, -0.5)),
        (1, 0): ((-0.5, 0.5), (0.5, 0.5)),
        (0, -1): ((-0.5, -0.5), (-0.5, 0.5)),
        (0, 1): ((0.5, 0.5), (-0.5, 0.5)),
    }
    for row, column in stable:
        for (down, right), (xs, ys) in sides.items():
            if (row + down, column + right) not in stable:
                axis.plot(
                    [column + x for x in xs],
                    [row + y for y in ys],
                    color="black",
                    linewidth=2.2,
                    solid_capstyle="projecting",
                    clip_on=False,
                    zorder=5,
                )


def _mark_chosen(axis, results, scheme, depths, rates):
    for arm in read.select(results, "train", scheme):
        if arm["depth"] in depths and arm["learning_rate"] in rates:
            axis.plot(
                rates.index(arm["learning_rate"]) + 0.36,
                depths.index(arm["depth"]) + 0.33,
                "o",
                color="white",
                markeredgecolor="black",
                markersize=4,
                zorder=6,
            )


def _label(axis, depths, rates):
    axis.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axis.set_yticks(range(len(depths)), [str(depth) for depth in depths])
    axis.set_xlim(-0.5, len(rates) - 0.5)
    # The shallowest network at the bottom.
    axis.set_ylim(-0.5, len(depths) - 0.5)
    axis.tick_params(length=0, labelrotation=0)
    if len(rates) > 5:
        axis.tick_params(axis="x", labelrotation=45)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _legend(figure, chance):
    stable = f"stable: loss below ln(classes) = {chance:.2f}" if chance else "stable"
    figure.legend(
        handles=[
            Line2D([], [], color="black", linewidth=2.2, label=stable),
            Patch(
                facecolor="white", edgecolor="#b0b0b0", hatch="////", label="diverged"
            ),
            Line2D(
                [],
                [],
                marker="o",
                color="white",
                markeredgecolor="black",
                linestyle="",
                markersize=4,
                label="rate of the full runs",
            ),
        ],
        loc="outside lower center",
        ncols=3,
    )
