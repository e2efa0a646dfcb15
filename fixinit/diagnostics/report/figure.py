"""The figure of a diagnosis, or of several laid over each other."""

import numpy as np

# Title, key, whether the axis is logarithmic.
_PANELS = [
    ("mean square", "mean_square", True),
    ("gradient's mean square", "gradient_mean_square", True),
    ("branch over shortcut", "branch_to_shortcut", True),
    ("correlation of inputs", "correlation", False),
    ("channels never active", "never_active", False),
    ("update over weight", "update_to_weight", True),
]
# Readable in grey, and by the color-blind.
_COLORS = ("#3b2f9b", "#c0242e", "#00877a", "#f0a030", "#cc79b4", "#1a1a1a")
_LINES = ("-", "--", "-.", ":")
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def draw(diagnoses, labels=None):
    """Draws every measure that has values over the index of the block.

    Args:
        diagnoses: List of `Diagnosis`. Without residual blocks, the layers are drawn.
        labels: List of strings, one for each. Their names by default.

    Returns:
        `matplotlib.figure.Figure`.
    """
    matplotlib, figure_class = _matplotlib()
    labels = check_labels(diagnoses, labels)
    panels = [panel for panel in _PANELS if _has(diagnoses, panel[1])]
    rows = -(-len(panels) // 2)
    with matplotlib.rc_context(_STYLE):
        figure = figure_class(figsize=(8.5, 2.3 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for axis, (title, key, is_log) in zip(axes, panels, strict=False):
            for index, diagnosis in enumerate(diagnoses):
                _curve(axis, diagnosis, key, is_log, index)
            axis.set_title(title)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[max(0, len(panels) - 2) : len(panels)]:
            axis.set_xlabel("block" if diagnoses[0].blocks else "layer")
        if len(diagnoses) > 1:
            handles = axes[0].get_lines()
            columns = min(4, len(labels))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        else:
            figure.suptitle(labels[0], x=0.01, ha="left", weight="bold")
    return figure


def check_labels(diagnoses, labels):
    """The labels, one per diagnosis; their names where there are none."""
    if labels is None:
        return [diagnosis.name for diagnosis in diagnoses]
    if len(labels) != len(diagnoses):
        raise ValueError(
            f"Argument `labels` must hold one string for each of the {len(diagnoses)} "
            f"diagnoses. Received: {labels}"
        )
    return list(labels)


def _matplotlib():
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'Figures need matplotlib: pip install "fixinit[diagnostics]".'
        ) from error

    class AggFigure(Figure):
        """A figure that needs no display."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            FigureCanvasAgg(self)

    return matplotlib, AggFigure


def _values(diagnosis, key):
    """`(index, values)`: over blocks, where there are any, otherwise over layers."""
    rows = diagnosis.blocks or diagnosis.layers
    values = np.array([row.get(key, np.nan) for row in rows], "float64")
    return np.arange(1, len(rows) + 1), values


def _has(diagnoses, key):
    return any(np.isfinite(_values(diagnosis, key)[1]).any() for diagnosis in diagnoses)


def _curve(axis, diagnosis, key, is_log, index):
    x, y = _values(diagnosis, key)
    finite = np.isfinite(y) & ((y > 0) | (not is_log))
    if is_log and (y[finite] > 0).any():
        axis.set_yscale("log")
    axis.plot(
        x,
        np.where(finite, y, np.nan),
        color=_COLORS[index % len(_COLORS)],
        linestyle=_LINES[index % len(_LINES)],
        marker="o" if len(x) <= 40 else None,
        markersize=3,
        # Earlier curves are wider, so that they show behind later ones.
        linewidth=max(1.2, 2.6 - 0.5 * index),
    )
