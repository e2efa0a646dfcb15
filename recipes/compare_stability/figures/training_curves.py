"""Train loss and test accuracy after every epoch, with the arms that diverged."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from recipes.common.experiment import reading as read
from recipes.common.experiment.tables import format_percent
from recipes.common.plotting.style import MUTED, new_figure, scheme_style
from recipes.compare_stability.figures import lines
from recipes.compare_stability.reading import chance_loss, last_value

TITLE = "Training"
CAPTION = (
    "Train loss (left) and test accuracy (right) after every epoch, one row for each "
    "depth, each scheme at its learning rate in the table. Lines are means over the "
    "seeds that still train, bands reach from the lowest to the highest of them. A "
    "cross marks the last epoch that a diverged seed finished (epoch 0: it finished "
    "none). The dotted line is the loss of a network that guesses, ln(number of "
    "classes). Right of each row: test accuracy after the last epoch, mean ± standard "
    "deviation over seeds."
)
ALT = (
    "Line charts of train loss and of test accuracy against the epoch, one curve for "
    "each scheme and one row for each depth; crosses mark seeds that diverged."
)


# In inches, of an entry in the legend.
LINE_HEIGHT = 0.19


def draw(results):
    """The figure, or `None` where no network was trained in full."""
    depths = lines.pick_depths(read.depths(results, "train"))
    if not depths:
        return None
    height = max(2.5, LINE_HEIGHT * (_legend_lines(results, depths) + 3))
    figure, axes = new_figure(len(depths), 2, width=8.6, row_height=height, sharex=True)
    chance = chance_loss(results)
    for row, depth in zip(axes, depths, strict=True):
        arms = {
            scheme: read.select(results, "train", scheme, depth)
            for scheme in read.schemes(results, "train")
        }
        arms = {scheme: found for scheme, found in arms.items() if found}
        _draw_quantity(row[0], arms, "train_loss")
        _draw_quantity(row[1], arms, "test_accuracy")
        _finish_loss(row[0], chance)
        _finish_accuracy(row[1])
        row[0].set_title(f"depth {depth}")
        row[1].legend(
            handles=[lines.scheme_handle(s, _outcome(s, a)) for s, a in arms.items()],
            title="test accuracy, last epoch",
            alignment="left",
            loc="upper left",
            bbox_to_anchor=(1.02, 1.04),
            handlelength=2.8,
        )
        _draw_crosses(row, arms)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    return figure


def _legend_lines(results, depths):
    """The lines of the longest legend."""
    return max(
        sum(
            _outcome(scheme, found).count("\n") + 1
            for scheme in read.schemes(results, "train")
            if (found := read.select(results, "train", scheme, depth))
        )
        for depth in depths
    )


def _draw_quantity(axis, arms, key):
    for index, (scheme, found) in enumerate(arms.items()):
        curves = [
            read.numbers(epoch.get(key) for epoch in arm.get("epochs") or [])
            for arm in found
        ]
        curves = [curve for curve in curves if curve.size]
        if curves:
            epochs = np.arange(1, max(map(len, curves)) + 1)
            lines.draw_curves(axis, epochs, curves, scheme, index, len(arms))
    axis.set_xlim(left=0)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _finish_loss(axis, chance):
    axis.set_ylabel("train loss (nats)")
    top = axis.dataLim.y1 if np.isfinite(axis.dataLim.y1) else 1.0
    if chance:
        axis.axhline(chance, color=MUTED, linewidth=1.0, linestyle=":", zorder=1)
        axis.annotate(
            "guessing",
            (1, chance),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=MUTED,
        )
        # A loss that shoots up before its arm is stopped would flatten the others.
        top = min(max(top, chance), 1.5 * chance)
    axis.set_ylim(0, 1.08 * top)


def _finish_accuracy(axis):
    axis.set_ylabel("test accuracy (%)")
    top = axis.dataLim.y1 if np.isfinite(axis.dataLim.y1) else 1.0
    axis.set_ylim(0, min(1.0, 1.15 * max(top, 0.1)))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))


def _draw_crosses(row, arms):
    """A cross at the last finite value of every seed that diverged."""
    for axis, key in zip(row, ("train_loss", "test_accuracy"), strict=True):
        top = axis.get_ylim()[1]
        unmeasured = []
        for scheme, found in arms.items():
            for arm in found:
                if not arm.get("diverged"):
                    continue
                values = read.numbers(e.get(key) for e in arm.get("epochs") or [])
                finite = np.flatnonzero(np.isfinite(values))
                if finite.size:
                    y = min(values[finite[-1]], top)
                    lines.cross(axis, finite[-1] + 1, y, scheme)
                elif scheme not in unmeasured:
                    unmeasured.append(scheme)
        # Nothing to place these by: along the edge that means failure.
        for index, scheme in enumerate(unmeasured):
            height = 0.02 + 0.07 * index
            y = top * (1 - height if key == "train_loss" else height)
            lines.cross(axis, 0, y, scheme)


def _outcome(scheme, arms):
    """A scheme's entry in the legend: its accuracy, or how often it diverged."""
    label = scheme_style(scheme)["label"]
    accuracy = read.numbers(last_value(arm, "test_accuracy") for arm in arms)
    accuracy = accuracy[~np.isnan(accuracy)]
    if accuracy.size:
        std = np.std(accuracy, ddof=1) if accuracy.size > 1 else math.nan
        label += f"  {format_percent(np.mean(accuracy), std)} %"
    diverged = sum(bool(arm.get("diverged")) for arm in arms)
    if diverged:
        label += f"\ndiverged ({diverged} of {len(arms)} seeds)"
    return label
