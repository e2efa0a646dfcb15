"""Treatment: what `check` says, and its remedies applied until nothing is found."""

import contextlib
import dataclasses
import io
from typing import Any

import keras
import numpy as np

import fixinit

# Advice that has not ended by then does not end.
ROUNDS = 4


@dataclasses.dataclass
class Patient:
    """A training program, and what the doctor says of it.

    Attributes:
        model, x, y: The program; remedies replace them.
        batch_size: int, or `None`. Samples that the doctor is given; by default all.
        applied: Findings whose remedies were applied, in order.
        left: Errors and warnings that are left.
        printed: What `check` has printed of the first finding, at first.
    """

    model: keras.Model
    x: Any
    y: Any
    batch_size: int | None = None
    applied: list = dataclasses.field(default_factory=list)
    left: list = dataclasses.field(default_factory=list)
    printed: str = ""

    def __post_init__(self):
        self.printed = self._ask()

    @property
    def batch(self):
        return self.x[: self.batch_size], self.y[: self.batch_size]

    def treat(self):
        """Applies the first remedy and asks again, until there is none."""
        while len(self.applied) < ROUNDS and any(f.remedy for f in self.left):
            first = next(f for f in self.left if f.remedy)
            names = {"model": self.model, "x": self.x, "y": self.y}
            names |= {"keras": keras, "np": np, "fixinit": fixinit}
            exec(first.remedy, names)
            self.model, self.x, self.y = (names[name] for name in ("model", "x", "y"))
            self.applied.append(first)
            self._ask()

    def _ask(self):
        """Sets `left`; returns what is printed of the first finding."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            found = fixinit.diagnostics.check(self.model, *self.batch)
        self.left = [f for f in found if f.severity != "note"]
        ends = [f"\n{f.severity} {f.kind}: " for f in found[1:2]]
        text = printed.getvalue()
        return text[: text.index(ends[0])] if ends else text.rstrip()


def by_layer(patient, measure):
    """A measure of `diagnose` by layer, or by residual block."""
    diagnosis = fixinit.diagnostics.diagnose(patient.model, *patient.batch)
    return [getattr(row, measure) for row in diagnosis.rows]
