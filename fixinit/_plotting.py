"""Figure style of the library and of the recipes. Needs matplotlib, when called."""

import base64
import contextlib
import io
from collections.abc import Iterator
from typing import Any

INK = "#222222"
MUTED = "#666666"
# Readable in grey, and by the color-blind.
COLORS = ("#3b2f9b", "#c0242e", "#00877a", "#f0a030", "#cc79b4", "#1a1a1a")
LINESTYLES = ("-", "--", "-.", ":")

RC_PARAMS = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    # Comes with matplotlib, so a figure looks the same on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def curve_style(index: int) -> dict[str, str]:
    """Color and line style of the curve with this index in a panel."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": LINESTYLES[index % len(LINESTYLES)],
    }


@contextlib.contextmanager
def publication() -> Iterator[None]:
    """Draws with `RC_PARAMS`, and leaves matplotlib's own settings as they were."""
    with _matplotlib().rc_context(RC_PARAMS):
        yield


def new_figure(
    num_rows: int,
    num_columns: int,
    width: float = 7.5,
    row_height: float = 2.6,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Makes a figure and its axes, independent of pyplot and of any display.

    Args:
        num_rows: int. Number of rows of panels.
        num_columns: int. Number of panels in a row.
        width: float. Width of the figure in inches.
        row_height: float. Height of a row of panels in inches.
        **kwargs: Arguments of `matplotlib.figure.Figure.subplots`.

    Returns:
        `(figure, axes)`, where `axes` is an array of shape `(num_rows, num_columns)`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, row_height * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, num_columns, squeeze=False, **kwargs)
    return figure, axes


def png_uri(figure: Any, dpi: int = 150) -> str:
    """Encodes a figure as the `data:` URI of a PNG, for pages without other files."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(
            'Figures need matplotlib: pip install "fixinit[diagnostics]".'
        ) from error
    return matplotlib
