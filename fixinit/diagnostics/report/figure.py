"""Figure of a diagnosis, or of several laid over each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fixinit import _plotting
from fixinit.diagnostics.report.headings import asked_of

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis

# Title, name of the measure, whether the axis is logarithmic.
_PANELS = [
    ("mean square", "mean_square", True),
    ("gradient's mean square", "gradient_mean_square", True),
    ("branch over shortcut", "branch_to_shortcut", True),
    ("correlation of inputs", "correlation", False),
    ("channels never active", "never_active", False),
    ("update over weight", "update_to_weight", True),
]


def draw(diagnoses: Sequence["Diagnosis"], labels: Sequence[str] | None = None) -> Any:
    """Draws every measure that has values over the index of the block.

    Args:
        diagnoses: List of `Diagnosis`. Without residual blocks, the layers are drawn.
        labels: List of strings, one for each. Their names by default.

    Returns:
        `matplotlib.figure.Figure`.
    """
    labels = check_labels(diagnoses, labels)
    panels = [panel for panel in _panels(diagnoses) if _has(diagnoses, panel[1])]
    with _plotting.publication():
        figure, axes = _plotting.new_figure(-(-len(panels) // 2), 2)
        axes = axes.ravel()
        for axis, (title, measure, is_log) in zip(axes, panels, strict=False):
            for index, diagnosis in enumerate(diagnoses):
                _curve(axis, diagnosis, measure, is_log, index)
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


def _panels(diagnoses: Sequence["Diagnosis"]) -> list[tuple[str, str, bool]]:
    """The panels of all diagnoses, and those of what was asked for."""
    names = dict.fromkeys(name for d in diagnoses for name in asked_of(d.rows))
    # Shares may be 0.
    asked = [(n.replace("_", " "), n, not n.endswith("flow")) for n in names]
    asked = [
        p for p in asked if any((_values(d, p[1])[1] > 0).any() for d in diagnoses)
    ]
    return [*_PANELS, *asked]


def check_labels(
    diagnoses: Sequence["Diagnosis"], labels: Sequence[str] | None
) -> list[str]:
    """Returns the labels, one per diagnosis; their names where there are none."""
    if labels is None:
        return [diagnosis.name for diagnosis in diagnoses]
    if len(labels) != len(diagnoses):
        raise ValueError(
            f"Argument `labels` must hold one string for each of the {len(diagnoses)} "
            f"diagnoses. Received: labels={labels}"
        )
    return list(labels)


def _values(diagnosis: "Diagnosis", measure: str) -> tuple[np.ndarray, np.ndarray]:
    """`(index, values)`: over blocks, where there are any, otherwise over layers."""
    rows = diagnosis.rows
    values = np.array([row.get(measure) for row in rows], "float64")
    return np.arange(1, len(rows) + 1), values


def _has(diagnoses: Sequence["Diagnosis"], measure: str) -> bool:
    return any(np.isfinite(_values(d, measure)[1]).any() for d in diagnoses)


def _curve(
    axis: Any, diagnosis: "Diagnosis", measure: str, is_log: bool, index: int
) -> None:
    x, y = _values(diagnosis, measure)
    finite = np.isfinite(y) & ((y > 0) | (not is_log))
    if is_log and (y[finite] > 0).any():
        axis.set_yscale("log")
    axis.plot(
        x,
        np.where(finite, y, np.nan),
        marker="o" if len(x) <= 40 else None,
        markersize=3,
        # Earlier curves are wider, so that they show behind later ones.
        linewidth=max(1.2, 2.6 - 0.5 * index),
        **_plotting.curve_style(index),
    )
