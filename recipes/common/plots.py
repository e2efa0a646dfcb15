"""Draws every figure that the results hold data for, and writes them as PNGs."""

import pathlib

from recipes.common import figures
from recipes.common.style import publication


def draw_all(results, output_dir):
    """Writes the figures of a comparison.

    Args:
        results: dict. The content of results.json.
        output_dir: Path. Directory to write to; it is made where it is missing.

    Returns:
        A list of `pathlib.Path`, one for each figure in reading order. A figure
        that there is no data for is left out.
    """
    output_dir = pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    with publication():
        for name, module in figures.ALL.items():
            figure = module.draw(results)
            if figure is not None:
                paths.append(output_dir / f"{name}.png")
                figure.savefig(paths[-1])
    return paths
