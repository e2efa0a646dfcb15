"""Table of a diagnosis for a terminal or a plain file."""

import dataclasses
import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.headings import asked_of, short, words

if TYPE_CHECKING:
    from fixinit.diagnostics.report.diagnosis import Diagnosis

COLUMNS = [
    ("mean sq.", "mean_square"),
    ("variance", "variance"),
    ("branch/sc", "branch_to_shortcut"),
    ("never on", "never_active"),
    ("always on", "always_active"),
    ("corr.", "correlation"),
    ("grad. sq.", "gradient_mean_square"),
    ("update/w", "update_to_weight"),
]
_WIDTH = 9
_SHORT_NAME = 12
# More rows do not fit on a screen: the first and the last ones, and some between.
_MAX_ROWS = 24


def text(diagnosis: "Diagnosis") -> str:
    """Formats the table, and the findings under it.

    As wide as the terminal, or `COLUMNS`; 80 characters where there is neither. It
    holds no colors: the string may go to a file.
    """
    # Names such as `stack[0]` are no markup.
    file = io.StringIO()
    console = Console(
        file=file, color_system=None, markup=False, highlight=False, emoji=False
    )
    width = console.width
    console.print(textwrap.fill(_title(diagnosis), width), end="\n\n")
    rows = _rows(diagnosis)
    console.print(_table(rows, columns_of(rows)[: _most(width)], width))
    asked = [(short(name), name) for name in asked_of(rows)]
    for start in range(0, len(asked), _most(width)):
        console.print()
        console.print(_table(rows, asked[start : start + _most(width)], width))
    found = diagnosis.findings or [diagnosis.verdict]
    console.print("\n" + findings_text(found, width), soft_wrap=True)
    lines = file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def columns_of(rows: Sequence[Any]) -> list[tuple[str, str]]:
    """Lists headings and measures of the columns in which any row has a number."""
    return [
        (heading, measure)
        for heading, measure in COLUMNS
        if any(number(row.get(measure)) for row in rows)
    ]


def number(value: float | None) -> str:
    """Formats a number in at most nine characters; NaN and `None` as nothing."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return ""
    return f"{value:.3g}"


def _rows(diagnosis: "Diagnosis") -> list[Any]:
    rows: list[Any] = list(diagnosis.rows)
    if diagnosis.input is not None:
        name = f"input: {diagnosis.input.name}"
        rows.insert(0, dataclasses.replace(diagnosis.input, name=name))
    return rows


def _most(width: int) -> int:
    """How many columns fit beside a short name."""
    return max(1, (width - _SHORT_NAME) // (_WIDTH + 1))


def _table(rows: Sequence[Any], shown: Sequence[tuple[str, str]], width: int) -> Table:
    room = width - (_WIDTH + 1) * len(shown)
    name_width = max(_SHORT_NAME, min(max(len(row.name) for row in rows), room))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=name_width, no_wrap=True)
    for heading, _ in shown:
        table.add_column(heading, width=_WIDTH, justify="right", no_wrap=True)
    previous = -1
    for index in _picked(len(rows)):
        if index > previous + 1:
            table.add_row(f"... {index - previous - 1} more")
        previous = index
        cells = [number(rows[index].get(measure)) for _, measure in shown]
        table.add_row(_shortened(rows[index].name, name_width), *cells)
    return table


def _shortened(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    # Both ends tell layers apart.
    end = width - width // 2
    return f"{name[: width // 2 - 2]}..{name[-end:]}"


def findings_text(findings: Sequence[Finding], width: int = 80) -> str:
    """Formats findings: severity, kind and cause, and the remedy's code below.

    A remedy that mends several of them stands below the first.
    """
    parts, printed = [], set[str]()
    for finding in findings:
        head = f"{finding.severity} {finding.kind}: "
        text = finding.cause if finding.kind == "healthy" else head + finding.cause
        lines = [textwrap.fill(text, width)]
        if finding.remedy and finding.remedy not in printed:
            # Code stays as it is: it is there to be copied.
            lines += ["Try:", textwrap.indent(finding.remedy, "    ")]
        printed.add(finding.remedy)
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _title(diagnosis: "Diagnosis") -> str:
    parts = [diagnosis.name, f"{len(diagnosis.blocks)} residual blocks"]
    parts += [f"{len(diagnosis.layers)} layers", f"{diagnosis.batch_size} samples"]
    if diagnosis.loss is not None:
        parts.append(f"loss {diagnosis.loss:.4g}")
    parts += words(diagnosis.asked)
    return ", ".join(parts)


def _picked(count: int) -> Iterable[int]:
    """Picks the indices of the rows that are shown."""
    if count <= _MAX_ROWS:
        return range(count)
    step = (count - 1) / (_MAX_ROWS - 1)
    return [round(i * step) for i in range(_MAX_ROWS)]
