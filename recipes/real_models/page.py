"""Writes the tables of finished results into a page of the documentation.

python -m recipes.real_models.page real_models_output docs/real_models.md
"""

import pathlib
import sys

from recipes.common.experiment import format_number, results
from recipes.real_models.__main__ import tables

START, END = "<!-- tables -->", "<!-- end of tables -->"
# Of the table of networks; the page says the scheme once.
LEFT_OUT = ("scheme", "parameters")


def markdown(columns, rows):
    """A table; the first two columns are texts."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value):
    text = format_number(value) if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def page(text, content):
    """The text of a page with the tables of results between its two marks."""
    figures, networks = tables(content)
    kept = [i for i, name in enumerate(networks.columns) if name not in LEFT_OUT]
    rows = [[row[i] for i in kept] for row in networks.rows]
    made = [
        markdown(figures.columns, figures.rows),
        markdown([networks.columns[i] for i in kept], rows),
    ]
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return "\n\n".join([f"{before}{START}", *made, f"{END}{after}"])


if __name__ == "__main__":
    source, target = sys.argv[1:]
    path = pathlib.Path(target)
    path.write_text(page(path.read_text(), results.load(pathlib.Path(source))))
