"""A diagnosis as text for a terminal."""

import math
import shutil
import textwrap

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


def text(diagnosis):
    """The table, and the verdict under it."""
    columns = shutil.get_terminal_size((100, 24)).columns
    rows = diagnosis.blocks or diagnosis.layers
    if diagnosis.blocks:
        rows = [diagnosis.input | {"name": f"input: {diagnosis.input['name']}"}, *rows]
    shown = [c for c in COLUMNS if any(_has(row, c[1]) for row in rows)]
    # As many as fit beside a short name.
    shown = shown[: max(1, (columns - _SHORT_NAME) // (_WIDTH + 1))]
    longest = max(len(row["name"]) for row in rows)
    room = columns - (_WIDTH + 1) * len(shown)
    name_width = max(_SHORT_NAME, min(longest, room))
    lines = [*textwrap.wrap(_title(diagnosis), columns), ""]
    head = [" " * name_width, *(f"{title:>{_WIDTH}}" for title, _ in shown)]
    lines.append(" ".join(head).rstrip())
    previous = -1
    for index in _picked(len(rows)):
        if index > previous + 1:
            lines.append(f"... {index - previous - 1} more")
        previous = index
        lines.append(_line(rows[index], shown, name_width))
    verdict = diagnosis.verdict
    lines += ["", *textwrap.wrap(verdict.text, columns)]
    if verdict.remedy:
        lines += _remedy(verdict.remedy, columns)
    return "\n".join(lines)


def _remedy(remedy, columns):
    """A line of code, and its comment behind or below it."""
    line = f"Try: {remedy}"
    code, mark, comment = line.partition("  # ")
    if len(line) <= columns or not mark:
        return textwrap.wrap(line, columns, subsequent_indent="     ")
    indent = "     # "
    comment = textwrap.wrap(
        comment, columns, initial_indent=indent, subsequent_indent=indent
    )
    return [code, *comment]


def number(value):
    """A number in at most nine characters; nothing for what does not apply."""
    if value is None or isinstance(value, float) and math.isnan(value):
        return ""
    return f"{value:.3g}"


def _title(diagnosis):
    parts = [diagnosis.name, f"{len(diagnosis.blocks)} residual blocks"]
    parts += [f"{len(diagnosis.layers)} layers", f"{diagnosis.batch_size} samples"]
    if diagnosis.loss is not None:
        parts.append(f"loss {diagnosis.loss:.4g}")
    return ", ".join(parts)


def _has(row, key):
    return bool(number(row.get(key)))


def _line(row, columns, name_width):
    name = row["name"]
    if len(name) > name_width:
        # Both ends tell layers apart.
        end = name_width - name_width // 2
        name = f"{name[: name_width // 2 - 2]}..{name[-end:]}"
    cells = [f"{name:<{name_width}}"]
    cells += [f"{number(row.get(key)):>{_WIDTH}}" for _, key in columns]
    return " ".join(cells).rstrip()


def _picked(count):
    """The indices of the rows that are shown."""
    if count <= _MAX_ROWS:
        return range(count)
    step = (count - 1) / (_MAX_ROWS - 1)
    return [round(i * step) for i in range(_MAX_ROWS)]
