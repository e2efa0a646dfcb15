"""Alarm of a `Monitor`: a finding of a training that diverges."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.rows import BlockRow, LayerRow

# Measures that may explode.
WATCHED = ("mean_square", "gradient_mean_square")
# Losses relative to the first one. Healthy trainings stay below 1.2; where steps are
# far too large, and yet bounded, as Adam's, a loss may come back from 100.
_RISEN, _LOST = 10.0, 1000.0
# Norm of the next step relative to that of the weights. Adam's, at rates of 1, are
# below it from the second step on; where training diverges they are above it, and grow.
_STEP = 1.0


@dataclasses.dataclass(frozen=True)
class Alarm(Finding):
    """Alarm of a `Monitor`: a `Finding` of a training that diverges.

    Example:

    >>> alarm = fixinit.diagnostics.Alarm(
    ...     "exploding", "error", "block7", 2e3, "Block block7 has grown.", step=300
    ... )
    >>> print(alarm)
    Block block7 has grown.
    >>> alarm.kind, alarm.step
    ('exploding', 300)

    Attributes:
        kind: `"exploding"` or `"not_finite"`.
        severity: `"error"`.
        where: Name of the block or layer where it begins, or empty.
        value: float. The measure there relative to the first measurement.
        cause, remedy, schemes: As those of a `Finding`.
        step: int. The step after which it was measured.
        measure: `"mean_square"`, `"gradient_mean_square"` or `"loss"`.
    """

    step: int = 0
    measure: str = "mean_square"


# From the size of the next step, `None` if unknown, to code.
Remedy = Callable[[float | None], str]


class Watch:
    """Compares measurements with the first one.

    Signals and gradients grow a thousandfold in good trainings, too. It is an alarm
    where, besides, the loss is ten times what it was at first, and

    * the optimizer's next step is larger than the weights themselves: the larger the
      gradients, the larger the steps; or
    * nothing has come back in the `every` steps since; or
    * the step cannot be known, and the loss is a thousand times what it was.

    Args:
        first: `Diagnosis` of the first measurement.
        explosion: float. Growth of a mean square that counts.
        every: int. Steps in which a loss may come back.
    """

    def __init__(self, first: Diagnosis, explosion: float, every: int) -> None:
        self.explosion, self.every = explosion, every
        self._loss: float | None = None
        self._since: int | None = None
        self._first = {
            (measure, kind): _baseline(measure, rows, first.layers)
            for measure in WATCHED
            for kind, rows in _kinds(first).items()
        }

    def __call__(
        self,
        step: int,
        diagnosis: Diagnosis,
        loss: float | None,
        next_step: Callable[[], float | None],
        remedy: Remedy,
    ) -> Alarm | None:
        """Looks at a measurement.

        Args:
            step: int.
            diagnosis: `Diagnosis`.
            loss: float or `None`: that of the batch that is measured, or of training.
            next_step: Gives the norm of the optimizer's next step, relative to the
                weights', or `None`. It takes long, and is called in danger alone.
            remedy: Gives the code of the remedy.
        """
        broken = self._broken(diagnosis, loss)
        if broken is not None:
            return self._not_finite(step, *broken, remedy(None))
        if self._loss is None:
            self._loss = loss
        grown = self._grown(diagnosis) if self._risen(loss) else None
        if grown is None:
            self._since = None
            return None
        if self._since is None:
            self._since = step
        size = next_step()
        if size is None:
            ends = self._risen(loss, _LOST)
        else:
            ends = not size <= _STEP
        if not ends and step - self._since < self.every:
            return None
        return self._exploding(step, *grown, loss, size, remedy(size))

    def _risen(self, loss: float | None, factor: float = _RISEN) -> bool:
        """Whether a loss is so many times the first one; unknown losses have not."""
        if loss is None or self._loss is None:
            return False
        return loss > self._loss + (factor - 1) * abs(self._loss)

    def _broken(
        self, diagnosis: Diagnosis, loss: float | None
    ) -> tuple[str, str] | None:
        """`(where, measure)` of the first that is not finite."""
        for measure in WATCHED:
            for rows in _kinds(diagnosis).values():
                for row in _on_the_way(measure, rows):
                    if not math.isfinite(getattr(row, measure)):
                        return row.name, measure
        if loss is not None and not math.isfinite(loss):
            return "", "loss"
        return None

    def _grown(self, diagnosis: Diagnosis) -> tuple[str, str, float] | None:
        """`(where, measure, growth)` of the first that has exploded."""
        for kind, rows in _kinds(diagnosis).items():
            for measure in WATCHED:
                pairs = list(zip(rows, self._first[measure, kind], strict=True))
                for row, first in _on_the_way(measure, pairs):
                    value = getattr(row, measure)
                    growth = value / first if first > 0 else 1.0
                    if growth > self.explosion:
                        return row.name, measure, growth
        return None

    def _not_finite(self, step: int, where: str, measure: str, remedy: str) -> Alarm:
        what = measure.replace("_", " ")
        of = f" of {where}" if where else ""
        cause = (
            f"Step {step}: the {what}{of} is not finite: the model has diverged. Go "
            "back to weights from before that, and lower the learning rate, warm it "
            "up, or clip gradients (global_clipnorm)."
        )
        return Alarm(
            "not_finite", "error", where, math.inf, cause, remedy, (), step, measure
        )

    def _exploding(
        self,
        step: int,
        where: str,
        measure: str,
        growth: float,
        loss: float | None,
        size: float | None,
        remedy: str,
    ) -> Alarm:
        what = measure.replace("_", " ")
        found = (
            f"Step {step}: the loss is {loss:.3g}, where it was {self._loss:.3g} at "
            f"first, and the {what} of {where} has grown {growth:.3g} times"
        )
        if size is not None and size > _STEP:
            why = (
                f"; the next step moves the weights by {size:.3g} times their norm: "
                "training is about to diverge."
            )
        elif self._since is not None and step - self._since >= self.every:
            why = f", and has not come back since step {self._since}."
        else:
            why = ": training is about to diverge."
        cause = (
            f"{found}{why} Lower the learning rate, warm it up, or clip gradients "
            "(global_clipnorm)."
        )
        return Alarm(
            "exploding", "error", where, growth, cause, remedy, (), step, measure
        )


def _kinds(diagnosis: Diagnosis) -> dict[str, Sequence[BlockRow | LayerRow]]:
    """The blocks, which name things better, and all layers, the head's among them."""
    return {"rows": diagnosis.rows, "layers": diagnosis.layers}


def _on_the_way(measure: str, items: Sequence) -> Sequence:
    """Items in the order in which signals, or gradients, pass them."""
    return items[::-1] if measure == "gradient_mean_square" else items


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
