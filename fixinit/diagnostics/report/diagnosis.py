"""What was found out about a model, for people and for machines."""

import dataclasses
import functools
import json
import math
import pathlib

import numpy as np

from fixinit.diagnostics.report import table
from fixinit.diagnostics.report.growth import fit_growth
from fixinit.diagnostics.report.verdict import judge


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found out about a model.

    `print(diagnosis)` shows it as a table.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=4, units=16, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> diagnosis = fixinit.diagnostics.diagnose(model, x)
    >>> diagnosis.verdict.kind, len(diagnosis.blocks)
    ('healthy', 4)

    Attributes:
        name: The model's name.
        layers: List of dicts, one per layer: `"name"`, `"kind"` (the class),
            `"mean_square"`, `"variance"`, `"peak"` (largest magnitude),
            `"correlation"`, `"never_active"`, `"always_active"` (of activations),
            `"gradient_mean_square"`, and of layers with weights
            `"weight_mean_square"`, `"weight_gradient_mean_square"`,
            `"update_to_weight"`. What does not apply is NaN.
        blocks: List of dicts, one per residual block: the same of its output, and
            `"branch_to_shortcut"` (ratio of mean squares), `"branch_depth"` and
            `"weights"` (names of the branch's weight layers).
        input: The dict of what the first block reads, `None` without blocks.
        weight_path: List of dicts. Without blocks, the weight layers one behind the
            other, the head left out, on the way that has the most of them.
        loss: float, or `None` without targets.
        batch_size: int.
        training: bool. Whether layers ran in training mode.
        bad_weights: List of the paths of weights that are not finite.
    """

    name: str
    layers: list
    blocks: list
    input: dict | None
    loss: float | None
    batch_size: int
    weight_path: list = dataclasses.field(default_factory=list)
    training: bool = True
    bad_weights: list = dataclasses.field(default_factory=list)

    @functools.cached_property
    def growth(self):
        """`Growth` of the mean square, from block to block or along `weight_path`."""
        values = self.curve("mean_square")
        ratio = 1.0
        if len(values) and 0 < values[-1] < math.inf:
            ratio = self._steps[-1]["peak"] / math.sqrt(values[-1])
        return self._fit(values, ratio)

    @functools.cached_property
    def gradient_growth(self):
        """`Growth` of the gradient's mean square, from the last block to the first."""
        values = self.curve("gradient_mean_square")
        with np.errstate(divide="ignore"):
            # As the product of the blocks' factors falls from the first block on: a
            # polynomial of the block's index stays one.
            return self._fit(1 / values)

    @functools.cached_property
    def verdict(self):
        """`Verdict`: what is wrong, in words, with the number and the remedy."""
        return judge(self)

    def curve(self, key):
        """A quantity of the first block's input and of every block's output.

        Without blocks, of the layers of `weight_path`.
        """
        return np.array([row[key] for row in self._steps])

    @property
    def _steps(self):
        return [self.input, *self.blocks] if self.blocks else self.weight_path

    def _fit(self, values, peak_ratio=1.0):
        # What changes shape starts a stage; what enters it is of the stage before.
        changes = [row["changes_shape"] for row in self._steps[1:]]
        stages = np.cumsum([0, *changes])[: len(values)]
        growth = fit_growth(values, peak_ratio, stages)
        held = np.isfinite(values) & (values > 0)
        if growth.kind == "unknown" and not held.all():
            # An exponential that has left the range of numbers is still one.
            part = fit_growth(values[held], peak_ratio, stages[held])
            growth = part if part.kind == "exponential" else growth
        return growth

    def to_dict(self):
        """Everything as JSON knows it; NaN becomes `None`, infinity `"inf"`."""
        content = {
            "name": self.name,
            "loss": self.loss,
            "batch_size": self.batch_size,
            "verdict": dataclasses.asdict(self.verdict),
            "growth": dataclasses.asdict(self.growth),
            "gradient_growth": dataclasses.asdict(self.gradient_growth),
            "input": self.input,
            "blocks": self.blocks,
            "layers": self.layers,
        }
        return _plain(content)

    def to_json(self, path):
        """Writes `to_dict()` to a file."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        pathlib.Path(path).write_text(text + "\n", encoding="utf-8")

    def plot(self, *others, labels=None):
        """A figure of mean squares, gradients and ratios over the depth.

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

    def to_html(self, path, *others, labels=None):
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

    def __str__(self):
        return table.text(self)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else str(value)
    return value
