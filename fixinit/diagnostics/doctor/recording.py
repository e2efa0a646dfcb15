"""Files of a `Monitor`: measures of every block as CSV and for TensorBoard."""

import csv
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from fixinit import backend
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.rows import BlockRow, LayerRow

# TensorBoard shows so many curves, of blocks at even distances.
_MAX_CURVES = 50


class Recording:
    """Writes measures of every block.

    Args:
        measures: Names of attributes of `BlockRow`.
        csv_path: Path of a CSV file, or `None`.
        log_dir: Directory for TensorBoard, or `None`.
    """

    def __init__(
        self,
        measures: Sequence[str],
        csv_path: str | pathlib.Path | None,
        log_dir: str | pathlib.Path | None,
    ) -> None:
        self.measures = measures
        self.csv_path = None if csv_path is None else pathlib.Path(csv_path)
        self.log_dir = log_dir
        self._writer: backend.SummaryWriter | None = None

    def start_file(self) -> None:
        """Begins the CSV file anew."""
        if self.csv_path is not None:
            self.csv_path.parent.mkdir(parents=True, exist_ok=True)
            with self.csv_path.open("w", newline="") as file:
                csv.writer(file).writerow(["step", "block", *self.measures])

    def open(self) -> None:
        """Opens the directory for TensorBoard."""
        if self.log_dir is not None:
            self._writer = backend.SummaryWriter(self.log_dir)

    def close(self) -> None:
        """Closes it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __call__(self, step: int, diagnosis: Diagnosis) -> None:
        """Writes a measurement."""
        rows = diagnosis.rows
        if self.csv_path is not None:
            with self.csv_path.open("a", newline="") as file:
                csv.writer(file).writerows(
                    [step, row.name, *self._recorded(row)] for row in rows
                )
        if self._writer is not None:
            picked = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_CURVES))
            scalars = {
                f"{measure}/{rows[i].name}": getattr(rows[i], measure, math.nan)
                for measure in self.measures
                for i in picked.round().astype(int)
            }
            scalars["growth/rate"] = diagnosis.growth.rate
            scalars["growth/total"] = diagnosis.growth.total
            self._writer.write(scalars, step)

    def _recorded(self, row: BlockRow | LayerRow) -> list[float | None]:
        return [getattr(row, measure, None) for measure in self.measures]
