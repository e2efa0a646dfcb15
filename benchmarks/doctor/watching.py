"""Trains under a `Monitor`, and notes when it sounds and when the loss is lost."""

import math
from typing import Any

import keras
import numpy as np

from benchmarks.doctor.training import train
from fixinit import diagnostics


class Loss(keras.callbacks.Callback):
    """Losses of the steps of one epoch, and the first step without a finite one."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.lost: int | None = None
        self._sum = 0.0

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # What `fit` logs is the mean over the epoch.
        mean = float((logs or {})["loss"])
        self.losses.append((batch + 1) * mean - self._sum)
        self._sum = (batch + 1) * mean
        if self.lost is None and not math.isfinite(mean):
            self.lost = batch + 1

    @property
    def learns(self) -> bool:
        """Whether the loss of late is below half of that of the first step.

        It is not where the sum of all losses, of which `fit` logs the mean in single
        precision, does not hold those of late.
        """
        late = np.mean(self.losses[-max(1, len(self.losses) // 4) :])
        resolved = np.finfo("float32").eps * np.sum(np.abs(self.losses))
        return bool(late + resolved < self.losses[0] / 2)


# A batch to measure is no smaller, even where batches for training are.
MEASURED = 32


def watch(
    model: keras.Model,
    x: Any,
    y: Any,
    batch: int,
    steps: int,
    seed: int,
    action: str = "stop",
) -> dict[str, Any]:
    """Trains with a `Monitor` of default settings, but for `action`.

    Returns:
        Dict of `"alarm"`: what it says, or `None`; `"alarm_step"`; `"lost"`: the first
        step whose loss is not finite, or `None`; `"first_loss"`, `"last_loss"`; and
        `"learns"`.
    """
    loss = Loss()
    samples = max(batch, MEASURED)
    monitor = diagnostics.Monitor(x[:samples], y[:samples], action=action)
    train(model, x, y, batch, steps, seed, [loss, monitor])
    alarm = monitor.alarm
    return {
        "alarm": None if alarm is None else str(alarm),
        "alarm_step": None if alarm is None else alarm.step,
        "lost": loss.lost,
        "first_loss": loss.losses[0],
        "last_loss": loss.losses[-1],
        "learns": loss.learns,
    }


def watch_divergence(
    model: keras.Model, x: Any, y: Any, batch: int, steps: int, seed: int, factor: float
) -> dict[str, Any]:
    """As `watch`, with the learning rate times `factor`, to the end."""
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    model.optimizer.learning_rate = rate * factor
    return watch(model, x, y, batch, steps, seed, action="none")


class Start:
    """State of a model and its optimizer, to train again without compiling again."""

    def __init__(self, model: keras.Model) -> None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self._variables = [*model.variables, *model.optimizer.variables]
        self._values = [keras.ops.convert_to_numpy(v) for v in self._variables]

    def restore(self) -> None:
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
