"""A program that trains a network: data, layers, loss and optimizer as data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.doctor.cases import nets
from benchmarks.doctor.cases.tables import Data

# What every case builds: a compiled model, inputs and targets.
Built = tuple[keras.Model, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Program:
    """A program, which builds its model and its data when it is called.

    Attributes:
        data: Function that returns inputs and targets.
        shape: Shape of one input.
        layers, loss, optimizer: As `nets` reads them.
        dtype: Of the input.
    """

    data: Callable[[], Data]
    shape: nets.Shape
    layers: str
    loss: str
    optimizer: str = "adam"
    dtype: str | None = None

    def __call__(self) -> Built:
        x, y = self.data()
        model = nets.network(self.shape, self.layers, self.dtype)
        return nets.compiled(model, self.loss, self.optimizer), x, y


def case(
    name: str,
    source: str,
    faults: str,
    program: Program,
    repair: dict[str, Any],
    visible: bool = True,
    batch: int = 32,
    steps: int = 300,
) -> dict[str, Any]:
    """A faulty program and its repair, as `loading` reads it.

    Args:
        name: Its name.
        source: Where it comes from.
        faults: Labels of `labels.KINDS`, the main fault first.
        program: The faulty program.
        repair: Fields of the program that the repair replaces.
        visible: Whether one sees the fault who sees the model, one batch, the loss and
            the optimizer.
        batch: Samples of a training step.
        steps: Training steps after which the repair pays.
    """
    return {
        "name": name,
        "source": source,
        "faults": faults.split(),
        "faulty": program,
        "repaired": dataclasses.replace(program, **repair),
        "visible": visible,
        "batch": batch,
        "steps": steps,
    }


def healthy(
    name: str, make: Callable[[], Built], group: str = "ordinary", train: int = 30
) -> dict[str, Any]:
    """A healthy program, as `loading` reads it.

    Args:
        name: Its name.
        make: Function that builds it.
        group: What it stands for.
        train: Training steps under `Monitor`; 0 for networks that take too long.
    """
    return {"name": name, "make": make, "group": group, "train": train}
