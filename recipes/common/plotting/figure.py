"""Figures as files: each a function of the results, drawn again at any time."""

import dataclasses
import pathlib
from collections.abc import Callable

from recipes.common.plotting.style import publication


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of a report.

    Attributes:
        name: str. The name of its file, without `.png`.
        draw: Callable that takes the content of results.json and returns a
            `matplotlib.figure.Figure`, or `None` where there is nothing to draw.
        title: str. A few words, without a full stop.
        caption: str. What is drawn, what lines and bands are, how to read it.
        alt: str. The figure in words, for those who do not see it.
    """

    name: str
    draw: Callable
    title: str
    caption: str
    alt: str


def draw_all(figures, results, output_dir):
    """Writes figures as PNGs.

    Args:
        figures: Instances of `Figure`, in reading order.
        results: dict. The content of results.json.
        output_dir: Path. Directory to write to; it is made where it is missing.

    Returns:
        A list of `(figure, path)`. A figure that there is no data for is left out.
    """
    output_dir = pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    drawn = []
    with publication():
        for figure in figures:
            canvas = figure.draw(results)
            if canvas is not None:
                path = output_dir / f"{figure.name}.png"
                canvas.savefig(path)
                drawn.append((figure, path))
    return drawn
