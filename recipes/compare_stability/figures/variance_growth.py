"""Mean square of the activations after every block, with the predictions over it."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from recipes.common.experiment import reading as read
from recipes.common.experiment.tables import format_number
from recipes.common.plotting import panels
from recipes.common.plotting.style import new_figure, scheme_style
from recipes.compare_stability.figures import lines
from recipes.compare_stability.figures.line_ends import label_line_ends
from recipes.compare_stability.reading import relative_growth

TITLE = "Growth of the mean square at initialization"
CAPTION = (
    "Mean square of the activations after every block at initialization, divided by "
    "that of the first block's input; one column for each depth, mean over seeds, "
    "bands from the lowest to the highest seed. The lower row enlarges what stays "
    "small. Dashed black lines are the closed-form predictions: a line that hides "
    "under them behaves as predicted. A cross marks the last block before the "
    "overflow. Markers are staggered where curves lie on top of each other."
)
ALT = (
    "Line charts of the mean square of the activations against the block index on a "
    "logarithmic axis, one curve for each scheme and one panel for each depth, with "
    "the closed-form predictions as dashed lines."
)

# A curve above this leaves the others flat: a second row of panels enlarges them.
_SMALL = 1e4
# More curves than this that end at the same value share a label.
_MAX_NAMES = 4


def draw(results):
    """The figure, or `None` where no arm measured its activations."""
    curves = {depth: _curves(results, depth) for depth in read.depths(results)}
    depths = lines.pick_depths([depth for depth in curves if curves[depth]])
    if not depths:
        return None
    ranges = [_range([curves[depth] for depth in depths], math.inf)]
    if ranges[0][1] > _SMALL:
        enlarged = _range([curves[depth] for depth in depths], _SMALL)
        ranges += [enlarged] if enlarged else []
    figure, axes = new_figure(
        len(ranges),
        len(depths),
        width=2.6 + 2.2 * len(depths),
        row_height=2.7 if len(ranges) == 2 else 3.8,
        sharex="col",
    )
    for column, depth in enumerate(depths):
        for row, limits in enumerate(ranges):
            _draw_panel(axes[row, column], curves[depth], limits)
            # Every curve is labelled in the row in which it is seen best.
            low = _SMALL if len(ranges) == 2 and row == 0 else 0.0
            high = _SMALL if row == 1 else math.inf
            last = column == len(depths) - 1
            ends = _line_ends(curves[depth], low, high, with_names=last)
            label_line_ends(axes[row, column], ends)
        num_blocks = int(axes[0, column].dataLim.x1)
        axes[0, column].set_title(lines.panel_title(depth, num_blocks))
        axes[-1, column].set_xlabel("block index")
    for axis, name in zip(axes[:, 0], ("", "enlarged: "), strict=False):
        axis.set_ylabel(f"{name}mean square of the\nactivations (input = 1)")
    panels.legend_below(figure, _handles(results, [curves[d] for d in depths]))
    return figure


def _curves(results, depth):
    """`{scheme: [(measured, predicted) of every seed]}`, without empty ones."""
    curves = {}
    for scheme in read.schemes(results):
        arms = read.select(results, "train", scheme, depth)
        pairs = [relative_growth(arm) for arm in arms]
        pairs = [pair for pair in pairs if pair[0].size]
        if pairs:
            curves[scheme] = pairs
    return curves


def _range(all_curves, below):
    """Limits of the axis for the curves that end below a bound, or `None`."""
    means = [
        read.mean_of([measured for measured, _ in pairs])
        for curves in all_curves
        for pairs in curves.values()
    ]
    shown = [mean for mean in means if mean[-1] < below or below == math.inf]
    if not shown:
        return None
    values = np.concatenate(shown)
    values = values[(values > 0) & np.isfinite(values)]
    low, high = values.min(), values.max()
    # At least from 1/2 to 4, lest noise around a constant look like a trend.
    low, high = min(low, 0.5), max(high, 4.0)
    margin = (high / low) ** 0.05
    return low / margin, high * margin


def _draw_panel(axis, curves, limits):
    panels.set_log_axis(axis, limits)
    predictions = []
    for index, (scheme, pairs) in enumerate(curves.items()):
        measured = [m for m, _ in pairs]
        blocks = np.arange(max(map(len, measured)))
        mean = lines.draw_curves(
            axis, blocks, measured, scheme, index, len(curves), "-"
        )
        last = np.isinf(mean).argmax() - 1
        if last >= 0 and mean[last] < limits[1]:
            lines.cross(axis, last, mean[last], scheme)
        predictions.append(read.mean_of([p for _, p in pairs]))
    for prediction in predictions:
        # Values beyond the panel only upset the renderer.
        shown = np.where(prediction < 10 * limits[1], prediction, np.nan)
        lines.draw_prediction(axis, np.arange(len(shown)), shown)
    axis.margins(x=0.02)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def _line_ends(curves, low, high, with_names):
    """What to write at the ends of the curves that end from `low` up to `high`."""
    same = {}
    for scheme, pairs in curves.items():
        mean = read.mean_of([measured for measured, _ in pairs])
        end = mean[-1]
        if low <= end < high or end == high == math.inf:
            text = "overflow" if math.isinf(end) else f"{_power(end)}×"
            same.setdefault(text, []).append((scheme, mean[np.isfinite(mean)][-1]))
    ends = []
    for text, members in same.items():
        if not with_names:
            ends.append((*members[0], text))
        elif len(members) > _MAX_NAMES:
            ends.append((*members[0], f"{len(members)} schemes: {text}"))
        else:
            names = [scheme_style(scheme)["label"] for scheme, _ in members]
            for (scheme, y), name in zip(members, names, strict=True):
                ends.append((scheme, y, f"{name}: {text}"))
    return ends


def _power(value):
    """A number as it is written in print: 7.6·10^10."""
    mantissa, _, exponent = format_number(value, 2).partition("e")
    return f"{mantissa}·10$^{{{int(exponent)}}}$" if exponent else mantissa


def _handles(results, all_curves):
    handles = [
        lines.scheme_handle(scheme, linestyle="-")
        for scheme in read.schemes(results)
        if any(scheme in curves for curves in all_curves)
    ]
    pairs = [p for curves in all_curves for pairs in curves.values() for p in pairs]
    if any(predicted.size for _, predicted in pairs):
        handles.append(lines.prediction_handle())
    if any(np.isinf(measured).any() for measured, _ in pairs):
        handles.append(lines.cross_handle(lines.overflow_label(results)))
    return handles
