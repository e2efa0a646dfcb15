"""The figures of `recipes.regularizing_residuals`."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from recipes.common.plotting import panels, style
from recipes.regularizing_residuals.reading import WAYS, by_way, ghost_sizes, mean


def draw_accuracy(results):
    arms = results["arms"]
    figure, axes = style.new_figure(1, 1, row_height=0.28 * len(arms) + 1.2)
    axis = axes[0, 0]
    for row, arm in enumerate(reversed(arms)):
        color = WAYS[arm["way"]].color
        ends = [100 * mean(arm, f"{part}_accuracy") for part in ("test", "train")]
        axis.plot(ends, [row, row], color=color, linewidth=1.2)
        axis.plot(ends[0], row, "o", color=color)
        axis.plot(ends[1], row, "o", color=color, markerfacecolor="white")
        for value in arm["test_accuracy"]:
            axis.plot(100 * value, row, "|", color=color, markersize=9)
    axis.set_yticks(
        range(len(arms)), [WAYS[arm["way"]].label for arm in reversed(arms)]
    )
    axis.set_xlabel("accuracy (%)")
    axis.set_ylim(-0.6, len(arms) - 0.4)
    handles = [
        panels.Line2D([], [], color=style.INK, marker="o", linestyle="", label=label)
        for label in ("test", "training")
    ]
    handles[1].set_markerfacecolor("white")
    panels.legend_below(figure, handles)
    return figure


_SHOWN = {
    "none": "-",
    "stochastic_depth": "--",
    "batch_norm_128": "-",
    "plain": ":",
}


def draw_lesions(results):
    found = by_way(results)
    shown = [way for way in _SHOWN if way in found]
    if not shown:
        return None
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    for way in shown:
        arm, look = found[way], {"color": WAYS[way].color, "linestyle": _SHOWN[way]}
        left = 100 * np.mean(arm["lesioned"], axis=0)
        numbers = np.arange(1, len(left) + 1)
        axes[0].plot(numbers, left, marker="o", **look)
        axes[0].axhline(100 * mean(arm, "test_accuracy"), linewidth=0.6, **look)
        if way != "plain":
            ratios = np.mean(arm["ratios"], axis=0)
            axes[1].plot(numbers, ratios, marker="o", **look)
    axes[0].set(title="accuracy without it (%)", xlabel="block", ylim=(0, None))
    axes[1].set(title="branch over shortcut", xlabel="block", yscale="log")
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels.set_log_axis(axes[1], axes[1].get_ylim())
    handles = [
        panels.Line2D(
            [], [], color=WAYS[way].color, linestyle=_SHOWN[way], label=WAYS[way].label
        )
        for way in shown
    ]
    panels.legend_below(figure, handles)
    return figure


def draw_decay_and_noise(results):
    found = by_way(results)
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    _draw_decay(axes[0], found)
    _draw_noise(axes[1], found)
    for axis in axes:
        axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axis.yaxis.set_minor_formatter(lambda y, _: f"{y:g}")
        if axis.lines:
            # Below, as curves fill the panel.
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return figure


def _draw_decay(axis, found):
    for way, line in (("none", "-"), ("weak_decay", "--"), ("strong_decay", ":")):
        if way in found:
            ratios = np.mean(found[way]["ratios"], axis=0)
            look = {"color": WAYS[way].color, "label": WAYS[way].label}
            axis.plot(range(1, len(ratios) + 1), ratios, line, **look)
    axis.set(title="branch over shortcut", xlabel="block", yscale="log")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_noise(axis, found):
    sizes, color = ghost_sizes(found), WAYS["batch_norm_8"].color
    axis.set(title="noise of BatchNorm", xlabel="samples normalized together")
    if not sizes:
        return
    noises = {
        key: [mean(found[f"batch_norm_{size}"], key) for size in sizes]
        for key in ("initial_noise", "noise")
    }
    axis.plot(
        sizes, noises["initial_noise"], "s--", color=color, label="before training"
    )
    axis.plot(sizes, noises["noise"], "o-", color=color, label="after")
    line = noises["initial_noise"][0] * np.sqrt(sizes[0] / np.array(sizes))
    axis.plot(sizes, line, ":", color=style.INK, label="1/√size")
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(sizes, sizes)
    axis.xaxis.minorticks_off()


FIGURES = {
    "accuracies": draw_accuracy,
    "lesions": draw_lesions,
    "decay_and_noise": draw_decay_and_noise,
}
