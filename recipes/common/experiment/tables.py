"""Tables and numbers for people, in the terminal and in the report alike."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of results.

    Example:

    >>> print(Table("Depth", ("scheme", "blocks"), [("fixup", 54)]).text())
    scheme  blocks
    --------------
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

    def cells(self):
        """The rows as lists of texts."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def text(self):
        """The table for a terminal."""
        lines = align([list(self.columns), *self.cells()], self.labels)
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def align(table, labels=1):
    """Lines of text from rows of texts, with the columns under each other."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    # Names read best from the left, numbers from the right.
    sides = ["<" if i < labels else ">" for i in range(len(widths))]
    return [
        "  ".join(
            f"{text:{side}{width}}"
            for text, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in table
    ]


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
