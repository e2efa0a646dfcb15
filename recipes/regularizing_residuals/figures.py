"""The figures of `recipes.regularizing_residuals`."""

import numpy as np

from recipes.common.plotting import panels, style

# name: (label, group)
WAYS = {
    "none": ("Fixup, nothing added", "branches"),
    "stochastic_depth": ("stochastic depth", "branches"),
    "shake_drop": ("ShakeDrop", "branches"),
    "even": ("two branches, mean", "branches"),
    "shake_shake": ("two branches, Shake-Shake", "branches"),
    "weak_decay": ("weak decay of branches", "branches"),
    "strong_decay": ("strong decay of branches", "branches"),
    "batch_norm_frozen": ("BatchNorm, frozen statistics", "batch_norm"),
    "batch_norm_128": ("BatchNorm over 128", "batch_norm"),
    "batch_norm_32": ("BatchNorm over 32", "batch_norm"),
    "batch_norm_8": ("BatchNorm over 8", "batch_norm"),
    "plain": ("BatchNorm over 128, no shortcuts", "plain"),
}


def by_way(results):
    return {arm["way"]: arm for arm in results["arms"]}


def mean(arm, key):
    """A number of one way, on average over its networks; lesions over blocks, too."""
    return float(np.mean(arm[key]))


def _color(way):
    scheme = {"branches": "fixup", "batch_norm": "batch_norm", "plain": "unnormalized"}
    return style.scheme_style(scheme[WAYS[way][1]])["color"]


def draw_accuracy(results):
    arms = results["arms"]
    figure, axes = style.new_figure(1, 1, row_height=0.28 * len(arms) + 1.2)
    axis = axes[0, 0]
    for row, arm in enumerate(reversed(arms)):
        color = _color(arm["way"])
        ends = [100 * mean(arm, f"{part}_accuracy") for part in ("test", "train")]
        axis.plot(ends, [row, row], color=color, linewidth=1.2)
        axis.plot(ends[0], row, "o", color=color)
        axis.plot(ends[1], row, "o", color=color, markerfacecolor="white")
        for value in arm["test_accuracy"]:
            axis.plot(100 * value, row, "|", color=color, markersize=9)
    axis.set_yticks(range(len(arms)), [WAYS[arm["way"]][0] for arm in reversed(arms)])
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
        arm, look = found[way], {"color": _color(way), "linestyle": _SHOWN[way]}
        left = 100 * np.mean(arm["lesioned"], axis=0)
        numbers = np.arange(1, len(left) + 1)
        axes[0].plot(numbers, left, marker="o", **look)
        axes[0].axhline(100 * mean(arm, "test_accuracy"), linewidth=0.6, **look)
        if way != "plain":
            ratios = np.mean(arm["ratios"], axis=0)
            axes[1].plot(numbers, ratios, marker="o", **look)
    axes[0].set(title="accuracy without it (%)", xlabel="block", ylim=(0, None))
    axes[1].set(title="branch over shortcut", xlabel="block", yscale="log")
    panels.set_log_axis(axes[1], axes[1].get_ylim())
    handles = [
        panels.Line2D(
            [], [], color=_color(way), linestyle=_SHOWN[way], label=WAYS[way][0]
        )
        for way in shown
    ]
    panels.legend_below(figure, handles)
    return figure


def draw_decay_and_noise(results):
    found = by_way(results)
    figure, (axes,) = style.new_figure(1, 2, row_height=3.0)
    ways = [w for w in ("none", "weak_decay", "strong_decay") if w in found]
    for way, line in zip(ways, ("-", "--", ":"), strict=False):
        ratios = np.mean(found[way]["ratios"], axis=0)
        axes[0].plot(
            range(1, len(ratios) + 1),
            ratios,
            line,
            color=_color(way),
            label=WAYS[way][0],
        )
    axes[0].set(title="branch over shortcut", xlabel="block", yscale="log")
    sizes = [size for size in (8, 32, 128) if f"batch_norm_{size}" in found]
    for key, marker, label in (
        ("initial_noise", "s--", "before training"),
        ("noise", "o-", "after"),
    ):
        noises = [mean(found[f"batch_norm_{size}"], key) for size in sizes]
        axes[1].plot(sizes, noises, marker, color=_color("batch_norm_8"), label=label)
    if sizes:
        first = mean(found[f"batch_norm_{sizes[0]}"], "initial_noise")
        line = first * np.sqrt(sizes[0] / np.array(sizes))
        axes[1].plot(sizes, line, ":", color=style.INK, label="1/√size")
        axes[1].set(xscale="log", yscale="log")
        axes[1].set_xticks(sizes, sizes)
        axes[1].xaxis.minorticks_off()
    axes[1].set(title="noise of BatchNorm", xlabel="samples normalized together")
    for axis in axes:
        axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axis.yaxis.set_minor_formatter(lambda y, _: f"{y:g}")
        if axis.lines:
            # Below, as curves fill the panel.
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return figure


FIGURES = {
    "accuracies": draw_accuracy,
    "lesions": draw_lesions,
    "decay_and_noise": draw_decay_and_noise,
}
