"""What the rows of a report share."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


class Row:
    """A row of a table, whose columns can also be read by name.

    `row["variance"]` is `row.variance`, and `dict(row)` holds all columns, so that
    `pandas.DataFrame(map(dict, rows))` is the table.
    """

    asked: Mapping[str, Any]

    def keys(self) -> tuple[str, ...]:
        """The names of the columns."""
        fields = [field.name for field in dataclasses.fields(self)]  # type: ignore
        return (*(name for name in fields if name != "asked"), *self.asked)

    def get(self, column: str, default: Any = math.nan) -> Any:
        """The value of a column, or `default` if there is none of that name."""
        return self[column] if column in self.keys() else default

    def __getitem__(self, column: str) -> Any:
        if column in self.asked:
            return self.asked[column]
        if column not in self.keys():
            raise KeyError(
                f"A {type(self).__name__} has no column {column!r}. Its columns are "
                f"{', '.join(self.keys())}. More can be asked for by the argument "
                "`measures` of `diagnose`."
            )
        return getattr(self, column)
