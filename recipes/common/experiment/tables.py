"""Tables and numbers for people, in the terminal and in the report alike."""

import dataclasses
import io
import math

import numpy as np
import rich.box
import rich.table
from rich.console import Console


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of results.

    Example:

    >>> print(Table("Depth", ("scheme", "blocks"), [("fixup", 54)]).text())
    scheme  blocks
    ──────────────
    fixup       54

    Attributes:
        title: str. What the rows are.
        columns: Names of the columns.
        rows: Rows of cells: texts, or numbers that `format_number` writes.
        note: str. What a reader needs to know to read it.
        labels: int. How many columns, from the left, are names and not numbers.
    """

    title: str
    columns: tuple
    rows: list
    note: str = ""
    labels: int = 1

    @classmethod
    def of(cls, title, arms, columns, labels=1):
        """A table with a row for every arm.

        Example:

        >>> arms = [{"depth": 2, "loss": 0.5}]
        >>> columns = {"layers": lambda arm: 2 * arm["depth"], "train loss": "loss"}
        >>> print(Table.of("losses", arms, columns).text())
        layers  train loss
        ──────────────────
        4            0.500

        Args:
            title: str. What the rows are.
            arms: dicts.
            columns: dict. By their names: keys of an arm, or functions of it.
            labels: int. How many columns are names.
        """
        rows = [
            tuple(c(arm) if callable(c) else arm.get(c) for c in columns.values())
            for arm in arms
        ]
        return cls(title, tuple(columns), rows, labels=labels)

    def cells(self):
        """The rows as lists of texts."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def text(self):
        """The table for a terminal."""
        return as_text(self.columns, self.cells(), self.labels)


def as_text(columns, rows, labels=1, ends=()):
    """A table for a terminal.

    Args:
        columns: Names of the columns.
        rows: Rows of texts.
        labels: int. How many columns, from the left, are names and not numbers.
        ends: Indices of the rows that an empty line follows.
    """
    table = rich.table.Table(
        box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for index, column in enumerate(columns):
        # Names read best from the left, numbers from the right.
        side = "left" if index < labels else "right"
        table.add_column(column, justify=side, no_wrap=True)
    for index, row in enumerate(rows):
        table.add_row(*row, end_section=index in ends)
    # Wide enough for every table, whatever the terminal.
    options = {"markup": False, "highlight": False, "emoji": False, "width": 1000}
    console = Console(file=io.StringIO(), **options)
    console.print(table)
    return "\n".join(x.rstrip() for x in console.file.getvalue().splitlines())


def _text(cell):
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if cell is None or isinstance(cell, float):
        return format_number(cell)
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def format_number(value, digits=3):
    """A number for people: three significant digits, a dash where it is unknown.

    Example:

    >>> format_number(2.302585), format_number(1.5e30), format_number(math.inf)
    ('2.30', '1.5e+30', 'overflow')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "overflow"
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    # Of what is written: 0.9999 becomes 1.00.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def format_percent(mean, std=math.nan):
    """A fraction in percent, with its spread where there is one.

    Example:

    >>> format_percent(0.684, 0.011), format_percent(0.684)
    ('68.4 ± 1.1', '68.4')
    """
    if math.isnan(mean):
        return "–"
    return f"{100 * mean:.1f}" + ("" if math.isnan(std) else f" ± {100 * std:.1f}")


def format_spread(values, spec=".2f"):
    """The mean over runs, with their standard deviation; a dash where it is unknown.

    Example:

    >>> format_spread([1.0, 2.0]), format_spread(None)
    ('1.50 ± 0.71', '–')
    """
    mean = math.nan if values is None else np.mean(values)
    if math.isnan(mean):
        return "–"
    return f"{mean:{spec}} ± {np.std(values, ddof=1):{spec}}"
