"""Alarm of a `Monitor`: jumps of the loss, and explosions from block to block."""

import dataclasses
import math
from collections.abc import Sequence

from fixinit.diagnostics.report.rows import BlockRow, LayerRow

# Measures that may explode.
WATCHED = ("mean_square", "gradient_mean_square")


@dataclasses.dataclass(frozen=True)
class Alarm:
    """Alarm of a `Monitor`: where a network has exploded.

    Example:

    >>> alarm = fixinit.diagnostics.Alarm(
    ...     300, "block7", "mean_square", 2e3, "Block block7 has grown."
    ... )
    >>> print(alarm)
    Block block7 has grown.

    Attributes:
        step: int. The step after which it was measured.
        block: Name of the block where the explosion begins.
        measure: `"mean_square"` or `"gradient_mean_square"`.
        growth: float. The measure relative to the first measurement.
        text: One sentence or two for people.
    """

    step: int
    block: str
    measure: str
    growth: float
    text: str

    def __str__(self) -> str:
        return self.text


class Losses:
    """Losses of batches, from the means over an epoch's batches that `fit` logs."""

    def __init__(self) -> None:
        # The largest since the last regular measurement, and between the two before.
        self._peaks: list[float] | None = None

    def start_epoch(self) -> None:
        self._done, self._mean = 0, 0.0

    def start_window(self) -> None:
        if self._peaks is not None:
            self._peaks = [-math.inf, self._peaks[0]]

    def jump(self, done: int, mean: float) -> bool:
        """Whether the loss of the last batches is large, or no number.

        Args:
            done: int. Batches of this epoch so far.
            mean: float. The mean of their losses.
        """
        count = done - self._done
        loss = (done * mean - self._done * self._mean) / max(count, 1)
        self._done, self._mean = done, mean
        return self.is_large(loss)

    def is_large(self, loss: float) -> bool:
        """Whether a loss is large, or no number, next to those of late."""
        if self._peaks is None:
            self._peaks = [loss, loss]
        # NaN compares as false, and is a jump.
        jumps = not loss <= 2 * abs(max(self._peaks))
        if not math.isnan(loss):
            self._peaks[0] = max(self._peaks[0], loss)
        return jumps


class Watch:
    """Compares blocks with what they were at the first measurement.

    Args:
        rows: Rows of the first measurement, which are watched.
        layers: Rows of all layers of the first measurement.
        explosion: float. Growth that sets off the alarm.
    """

    def __init__(
        self,
        rows: Sequence[BlockRow | LayerRow],
        layers: Sequence[LayerRow],
        explosion: float,
    ) -> None:
        self.explosion = explosion
        self._first = {m: _baseline(m, rows, layers) for m in WATCHED}

    def __call__(self, step: int, rows: Sequence[BlockRow | LayerRow]) -> Alarm | None:
        """Finds the first block, on the way of the signal, that has exploded."""
        for measure in WATCHED:
            found = list(zip(rows, self._first[measure], strict=True))
            if measure == "gradient_mean_square":
                found.reverse()  # The way that gradients go.
            for row, first in found:
                growth = _growth(getattr(row, measure), first)
                if growth > self.explosion:
                    text = self._text(step, row.name, measure, growth)
                    return Alarm(step, row.name, measure, growth, text)
        return None

    def _text(self, step: int, block: str, measure: str, growth: float) -> str:
        what = measure.replace("_", " ")
        if math.isinf(growth):
            text = (
                f"Step {step}: the {what} of {block} is not finite: the model "
                "has diverged. Go back to weights from before that, and lower"
            )
        else:
            text = (
                f"Step {step}: the {what} of {block} has grown {growth:.3g} "
                f"times since training began, more than {self.explosion:g}; training "
                "is about to diverge. Lower"
            )
        remedies = "the learning rate, warm it up, or clip gradients (global_clipnorm)"
        return f"{text} {remedies}."


def _baseline(
    measure: str, rows: Sequence[BlockRow | LayerRow], layers: Sequence[LayerRow]
) -> list[float]:
    """Returns the value of every row that growth is measured from.

    From zero, as behind Fixup's head, everything would be an explosion, and so would
    the first steps away from it. A bound that they keep is the largest value in the
    network: for gradients that of the outputs, which is there from the first step.
    """
    values = [getattr(row, measure) for row in layers]
    largest = max(filter(math.isfinite, values), default=0.0)
    return [getattr(row, measure) or largest for row in rows]


def _growth(value: float, first: float) -> float:
    if not math.isfinite(value):
        return math.inf
    return value / first if first > 0 else 1.0
