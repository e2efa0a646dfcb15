"""Gallery of diseases: the part of docs/diagnostics.md that results are written into.

python -m recipes.diseases.gallery results/diseases docs/diagnostics.md
"""

import inspect
import pathlib
import sys
import textwrap

import numpy as np

from recipes.common.experiment import results
from recipes.common.plotting.style import publication
from recipes.diseases import programs
from recipes.diseases.__main__ import EXPERIMENT, last

BEGIN, END = "<!-- gallery: begin -->", "<!-- gallery: end -->"
# Dots per inch: what a page shows, below 60 kB.
DPI = 110


def source(disease):
    """The lines of a program, as they would stand in a script."""
    lines = inspect.getsource(getattr(programs, disease)).splitlines()[1:-1]
    return textwrap.dedent("\n".join(lines))


def entry(arm, figure, path):
    """Markdown of one disease: program, verdict, cure and picture."""
    faulty, mended = (100 * np.mean(last(arm, s)) for s in ("faulty", "mended"))
    what = "of the variance" if arm["disease"] == "raw_targets" else "accuracy"
    parts = [
        f"### {figure.title}",
        figure.caption,
        f"```python\n{source(arm['disease'])}\n```",
        f"```text\n{arm['printed'].rstrip()}\n```",
        f"As written: {faulty:.1f} % {what}; mended: {mended:.1f} %.",
        f"![{figure.alt}]({path})",
    ]
    return "\n\n".join(
        textwrap.fill(p, 92) if p is figure.caption else p for p in parts
    )


def write(results_dir, page):
    """Writes figures beside a page, and the gallery between its marks.

    Args:
        results_dir: Path of the results of the recipe.
        page: Path of a Markdown file that holds both marks.
    """
    content, page = results.load(results_dir), pathlib.Path(page)
    folder = page.parent / "diseases"
    folder.mkdir(exist_ok=True)
    entries = []
    for arm in content["arms"]:
        name = arm["disease"]
        figure = EXPERIMENT.words.figure(name, EXPERIMENT.figures[name], content)
        with publication():
            figure.draw(content).savefig(folder / f"{name}.png", dpi=DPI)
        entries.append(entry(arm, figure, f"{folder.name}/{name}.png"))
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    gallery = "\n\n".join([BEGIN, *entries, END])
    page.write_text(before + gallery + after, "utf-8")


if __name__ == "__main__":
    write(*sys.argv[1:])
