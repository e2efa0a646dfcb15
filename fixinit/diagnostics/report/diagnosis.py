"""Diagnosis of a model: rows, growth and verdict, as text, JSON, figure and page."""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fixinit._validation import check_choice
from fixinit.diagnostics.report import table
from fixinit.diagnostics.report.columns import Histogram
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.growth import Growth, fit_growth
from fixinit.diagnostics.report.healthy import healthy
from fixinit.diagnostics.report.rows import BlockRow, LayerRow


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Result of `diagnose`: statistics by layer and by residual block, and a verdict.

    `print(diagnosis)` shows it as a table.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=4, units=16, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> diagnosis = fixinit.diagnostics.diagnose(model, x)
    >>> diagnosis.verdict.kind, len(diagnosis.blocks)
    ('healthy', 4)

    Attributes:
        name: The model's name.
        layers: List of `LayerRow`, one per layer.
        blocks: List of `BlockRow`, one per residual block.
        input: `LayerRow` of what the first block reads, `None` without blocks.
        loss: float, or `None` without targets.
        batch_size: int.
        weight_path: List of `LayerRow`. Without blocks, the weight layers one behind
            the other, the head left out, on the path that has the most of them.
        training: bool. Whether layers ran in training mode.
        bad_weights: List of the paths of weights that are not finite.
        closed: List of the names of blocks whose branches start at zero and get no
            gradient that could open them.
        equal_draws: List of lists of names, layers whose kernels are the same draw of
            an initializer: see `fixinit.graph.equal_draws`.
        findings: List of `Finding`, in the order in which they should be mended.
        asked: Dict from names to what `measures` of `diagnose` asked for of the whole
            model: FLOPs of one sample, bytes of all weights, and so on.
    """

    name: str
    layers: list[LayerRow]
    blocks: list[BlockRow]
    input: LayerRow | None
    loss: float | None
    batch_size: int
    weight_path: list[LayerRow] = dataclasses.field(default_factory=list)
    training: bool = True
    bad_weights: list[str] = dataclasses.field(default_factory=list)
    closed: list[str] = dataclasses.field(default_factory=list)
    equal_draws: list[list[str]] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def growth(self) -> Growth:
        """`Growth` of the mean square, from block to block or along `weight_path`."""
        values = self.curve("mean_square")
        ratio = 1.0
        if len(values) and 0 < values[-1] < math.inf:
            ratio = self._steps[-1].peak / math.sqrt(values[-1])
        return self._fit(values, ratio)

    @functools.cached_property
    def gradient_growth(self) -> Growth:
        """`Growth` of the gradient's mean square, from the last block to the first."""
        values = self.curve("gradient_mean_square")
        with np.errstate(divide="ignore"):
            # As the product of the blocks' factors falls from the first block on: a
            # polynomial of the block's index stays one.
            return self._fit(1 / values)

    @functools.cached_property
    def verdict(self) -> Finding:
        """`Finding`: the first of `findings`, or one of kind `"healthy"`."""
        return self.findings[0] if self.findings else healthy(self)

    @property
    def rows(self) -> Sequence[LayerRow | BlockRow]:
        """`blocks`, or `layers` where there are none."""
        return self.blocks or self.layers

    def curve(self, measure: str) -> np.ndarray:
        """Returns a measure of the first block's input and of every block's output.

        Without blocks, of the layers of `weight_path`.

        Args:
            measure: Name of an attribute of `BlockRow`, such as `"mean_square"`.

        Returns:
            Array of shape `(num_blocks + 1,)`, or `(len(weight_path),)`.

        Raises:
            ValueError: If it is no measure that the input, or a layer, has too.
        """
        kinds = {type(row) for row in self._steps} | {LayerRow}
        columns = [{f.name for f in dataclasses.fields(kind)} for kind in kinds]
        numbers = [f.name for f in dataclasses.fields(LayerRow) if f.type is float]
        shared = set.intersection(*columns)
        names = [name for name in numbers if name in shared]
        for row in self._steps[:1]:
            names += [name for name, v in row.asked.items() if np.isscalar(v)]
        check_choice("measure", measure, names)
        return np.array([row[measure] for row in self._steps])

    @property
    def _steps(self) -> Sequence[LayerRow | BlockRow]:
        if self.input is None:
            return self.weight_path
        return [self.input, *self.blocks]

    def _fit(self, values: np.ndarray, peak_ratio: float = 1.0) -> Growth:
        # What changes shape starts a stage; what enters it is of the stage before.
        changes = [row.changes_shape for row in self._steps[1:]]
        stages = np.cumsum([0, *changes])[: len(values)]
        growth = fit_growth(values, peak_ratio, stages)
        held = np.isfinite(values) & (values > 0)
        if growth.kind == "unknown" and not held.all():
            # An exponential that has left the range of numbers is still one.
            part = fit_growth(values[held], peak_ratio, stages[held])
            growth = part if part.kind == "exponential" else growth
        return growth

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON holds it; NaN as `None`, infinity as `"inf"`."""
        content = {
            "name": self.name,
            "loss": self.loss,
            "batch_size": self.batch_size,
            "verdict": dataclasses.asdict(self.verdict),
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "growth": dataclasses.asdict(self.growth),
            "gradient_growth": dataclasses.asdict(self.gradient_growth),
            "closed": self.closed,
            "equal_draws": self.equal_draws,
            "input": self.input and dict(self.input),
            "blocks": [dict(row) for row in self.blocks],
            "layers": [dict(row) for row in self.layers],
        }
        if self.asked:
            content["asked"] = dict(self.asked)
        return _plain(content)

    def to_json(self, path: str | pathlib.Path) -> None:
        """Writes `to_dict()` to a file."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        pathlib.Path(path).write_text(text + "\n", encoding="utf-8")

    def plot(self, *others: "Diagnosis", labels: Sequence[str] | None = None) -> Any:
        """Draws mean squares, gradients and ratios over the depth.

        Args:
            *others: Diagnoses to lay over this one.
            labels: List of strings, one per diagnosis. Their names by default.

        Returns:
            `matplotlib.figure.Figure`.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        from fixinit.diagnostics.report.figure import draw

        return draw([self, *others], labels)

    def to_html(
        self,
        path: str | pathlib.Path,
        *others: "Diagnosis",
        labels: Sequence[str] | None = None,
    ) -> None:
        """Writes a page that needs no other file and no network.

        Args:
            path: Path of the file.
            *others: Diagnoses to compare with.
            labels: List of strings, one per diagnosis. Their names by default.

        Raises:
            ImportError: If matplotlib or Jinja is not installed.
        """
        from fixinit.diagnostics.report.page import render

        html = render([self, *others], labels)
        pathlib.Path(path).write_text(html, encoding="utf-8")

    def __str__(self) -> str:
        return table.text(self)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Histogram):
        return _plain({"edges": value.edges, "shares": value.shares})
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return value
