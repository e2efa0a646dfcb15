"""Gradient norm of every block's weights at initialization."""

import math

import numpy as np
from matplotlib.ticker import MaxNLocator

from recipes.common.experiment import reading as read
from recipes.common.plotting import panels
from recipes.common.plotting.style import MUTED, new_figure
from recipes.compare_stability.figures import lines
from recipes.compare_stability.reading import magnitudes

TITLE = "Gradient norms at initialization"
CAPTION = (
    "Norm of the loss's gradient with respect to all weights of each block, before "
    "the first step; one panel for each depth, mean over seeds, bands from the lowest "
    "to the highest seed. A level curve means that all blocks learn at the same pace. "
    "The line at the bottom stands for exactly 0: where the head starts at zero, as "
    "Fixup's does, the first step moves the head alone. Crosses mark gradients that "
    "overflow. Of networks with more than 250 blocks, means over neighbors are drawn."
)
ALT = (
    "Line charts of the gradient norm at initialization against the block index on a "
    "logarithmic axis, one curve for each scheme and one panel for each depth."
)


# Of networks with more blocks, the means of groups of neighbors are drawn.
_MAX_POINTS = 250


def draw(results):
    """The figure, or `None` where no arm measured its gradients."""
    curves = {depth: _curves(results, depth) for depth in read.depths(results)}
    depths = lines.pick_depths([depth for depth in curves if curves[depth]])
    if not depths:
        return None
    norms = [curves[depth] for depth in depths]
    limits, zero, overflow = _range(norms)
    figure, axes = new_figure(
        1, len(depths), width=2.0 + 2.4 * len(depths), row_height=3.6, sharey=True
    )
    for axis, depth in zip(axes[0], depths, strict=True):
        panels.set_log_axis(axis, limits)
        for index, (scheme, values) in enumerate(curves[depth].items()):
            _draw_scheme(axis, scheme, values, index, len(curves[depth]), limits, zero)
        num_blocks = max(len(x) for norms in curves[depth].values() for x in norms)
        axis.set_title(lines.panel_title(depth, num_blocks))
        axis.set_xlim(1 - 0.03 * num_blocks, num_blocks * 1.03)
        axis.set_xlabel("block index")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if zero:
            axis.axhline(zero, color=MUTED, linewidth=0.8, zorder=1)
    axes[0, 0].set_ylabel("gradient norm of a block's weights", labelpad=10)
    if zero:
        _label_height(axes[0, 0], zero, "0")
    if overflow:
        _label_height(axes[0, 0], _overflow_height(limits), "overflow")
    shown = [s for s in read.schemes(results) if any(s in c for c in norms)]
    handles = [lines.scheme_handle(scheme) for scheme in shown]
    if overflow:
        handles.append(lines.cross_handle(lines.overflow_label(results)))
    panels.legend_below(figure, handles)
    return figure


def _curves(results, depth):
    """`{scheme: [norms of every seed]}`, without empty ones."""
    curves = {}
    for scheme in read.schemes(results):
        initial = [
            arm.get("initial") or {}
            for arm in read.select(results, "train", scheme, depth)
        ]
        norms = [magnitudes(x.get("branch_gradient_norms")) for x in initial]
        norms = [x for x in norms if x.size and not np.isnan(x).all()]
        if norms:
            curves[scheme] = norms
    return curves


def _range(all_curves):
    """`(limits, height that stands for 0 or None, whether any value overflows)`."""
    values = np.concatenate(
        [x for c in all_curves for norms in c.values() for x in norms]
    )
    positive = values[(values > 0) & np.isfinite(values)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    low, high = low / 1.5, high * 1.5
    # The line for 0 keeps its distance from the smallest norm.
    zero = low / (high / low) ** 0.12 / 2 if (values == 0).any() else None
    overflow = bool(np.isinf(values).any())
    if overflow:
        high *= (high / low) ** 0.1 * 2
    return (zero / 1.6 if zero else low, high), zero, overflow


def _draw_scheme(axis, scheme, norms, index, count, limits, zero):
    mean = read.mean_of(norms)
    blocks = np.arange(1, len(mean) + 1)
    shown = [np.where(x == 0, zero, x) if zero else x for x in norms]
    size = math.ceil(len(mean) / _MAX_POINTS)
    lines.draw_curves(
        axis,
        _groups_of(size, blocks),
        [_groups_of(size, x) for x in shown],
        scheme,
        index,
        count,
    )
    if np.isinf(mean).any():
        where = blocks[np.isinf(mean)]
        start, step = panels.staggered(len(where), index, count)
        for x in where[start::step]:
            lines.cross(axis, x, _overflow_height(limits), scheme)


def _groups_of(size, values):
    """Means of groups of neighbors; the last may be smaller."""
    starts = np.arange(0, len(values), size)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])


def _overflow_height(limits):
    return limits[1] / (limits[1] / limits[0]) ** 0.03


def _label_height(axis, height, text):
    axis.annotate(
        text,
        (0, height),
        xycoords=("axes fraction", "data"),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
    )
