"""Monitor of a network during training: a callback that measures every block."""

import csv
import math
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit import _keras, backend
from fixinit._checked import checked
from fixinit._validation import check_choice, check_number, check_positive_int
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.doctor.alarm import Alarm, Losses, Watch
from fixinit.diagnostics.doctor.diagnose import diagnosis_of
from fixinit.diagnostics.doctor.program import Program
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.measure import Measure
from fixinit.diagnostics.report.rows import BlockRow, LayerRow
from fixinit.graph.functional import has_own

MEASURES = (
    "mean_square",
    "variance",
    "gradient_mean_square",
    "branch_to_shortcut",
    "never_active",
    "always_active",
    "correlation",
    "update_to_weight",
)
ACTIONS = ("stop", "warn", "none")
# TensorBoard shows so many curves, of blocks at even distances.
_MAX_CURVES = 50


class Monitor(keras.callbacks.Callback):
    """Records what happens in every block during `fit`, and sounds the alarm.

    A measurement is one forward and one backward pass on a batch of its own, compiled
    once. It takes place before the first step, then every `every` steps, and at once
    when the loss is twice the largest of late. The alarm goes off when the mean square
    of a block's output, or of the gradient that comes back to it, has grown by
    `explosion` since the first measurement, or is not finite. What was 0 then, as the
    gradient in front of a head of zeros, is compared with the largest value that any
    layer had. Without residual blocks it watches the layers.

    Training is, bit by bit, what it is without a monitor, also that of a model with a
    `call` or a `train_step` of its own. A `train_step` that logs no `"loss"` gives no
    measurements out of turn.

    A `fit` that follows with the same monitor and model goes on: steps, first values,
    `history` and the CSV file; another model starts anew.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> y = np.arange(64) % 10
    >>> model = fixinit.models.ResidualMLP(4, 16, input_shape=(8,), seed=0)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile(keras.optimizers.SGD(0.01), loss)
    >>> monitor = fixinit.diagnostics.Monitor(x[:16], y[:16], every=2)
    >>> history = model.fit(x, y, batch_size=16, verbose=0, callbacks=[monitor])
    >>> [step for step, diagnosis in monitor.history], monitor.alarm
    ([0, 2, 4], None)

    Args:
        x: The batch that is measured, as `diagnose` takes it. No larger than a
            training batch, a measurement costs about as much as three steps.
        y: Its targets, or `None`.
        every: int, 100 by default. Steps between two measurements.
        measures: Tuple of strings, which measures are recorded: attributes of
            `BlockRow`.
        csv_path: Path of a CSV file, one row per measurement and block. A file that is
            there when a monitor begins is replaced.
        log_dir: Directory for TensorBoard: the measures of at most 50 blocks, and the
            growth per block.
        action: `"stop"` (default) ends training at the alarm, with a warning; `"warn"`
            only warns, once per `fit`; `"none"` only sets `alarm`.
        explosion: float, 1000 by default. Growth of a mean square since the first
            measurement that sets off the alarm.
        keep: bool. Whether `history` keeps every `Diagnosis`. For very deep networks
            and long runs `False` saves memory.

    Attributes:
        history: List of `(step, Diagnosis)`. The weights are measured as well if
            `"update_to_weight"` is among the measures.
        alarm: `Alarm` of the last `fit`, or `None`.

    Raises:
        ValueError: If an argument is outside its range.
        TypeError, ValueError: When training begins, what `diagnose` raises.
    """

    @checked
    def __init__(
        self,
        x: Any,
        y: Any = None,
        every: int = 100,
        measures: Sequence[str] = (
            "mean_square",
            "gradient_mean_square",
            "branch_to_shortcut",
        ),
        csv_path: str | pathlib.Path | None = None,
        log_dir: str | pathlib.Path | None = None,
        action: str = "stop",
        explosion: float = 1000.0,
        keep: bool = True,
    ) -> None:
        super().__init__()
        self.every = check_positive_int("every", every)
        self.measures = tuple(check_choice("measures", m, MEASURES) for m in measures)
        self.action = check_choice("action", action, ACTIONS)
        self.explosion = check_number(
            "explosion",
            explosion,
            "a finite number above 1",
            lambda v: v > 1,
        )
        self.x, self.y = x, y
        self.csv_path = None if csv_path is None else pathlib.Path(csv_path)
        self.log_dir = log_dir
        self.keep = keep
        self.history: list[tuple[int, Diagnosis]] = []
        self.alarm: Alarm | None = None
        self._writer: backend.SummaryWriter | None = None
        self._subject: Subject | None = None
        self._measure: Measure | None = None
        self._compiled = None
        self._watch: Watch | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._subject is None or self._subject.model is not self.model:
            self._subject, self._measure = Subject(self.model, self.x), None
        self._batch = Program(
            self._subject, *check_batch(self._subject, self.x, self.y)
        )
        self.alarm = None
        if self.log_dir is not None:
            self._writer = backend.SummaryWriter(self.log_dir)
        # `compile` may have changed the loss, which a measure has compiled.
        compiled = _keras.compiled_loss(self.model)
        is_new = self._measure is None
        if is_new or compiled is not self._compiled:
            self._measure, self._compiled = Measure(self._subject), compiled
            self._losses = Losses()
        if is_new:
            self._begin()

    def _begin(self) -> None:
        self._step, self._measured = 0, -1
        self.history, self._watch = [], None
        if self.csv_path is not None:
            self.csv_path.parent.mkdir(parents=True, exist_ok=True)
            with self.csv_path.open("w", newline="") as file:
                csv.writer(file).writerow(["step", "block", *self.measures])
        self._record()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._before_epoch = self._step
        self._losses.start_epoch()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # `batch` is the last of those that one execution has taken.
        done = min(batch + 1, self.params.get("steps") or batch + 1)
        last, self._step = self._step, self._before_epoch + done
        jumps = self._jumps(done, (logs or {}).get("loss"))
        if self._step // self.every > last // self.every:
            self._losses.start_window()
            self._record()
        elif jumps and self.alarm is None:
            self._record()

    def _jumps(self, done: int, loss: Any) -> bool:
        """Whether the loss of the last batches is large.

        A `train_step` of one's own may log none, or that of the batch.
        """
        if loss is None:
            return False
        if has_own(self.model, "train_step"):
            return self._losses.is_large(float(loss))
        return self._losses.jump(done, float(loss))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _record(self) -> None:
        if self._measured == self._step:
            return
        self._measured = self._step
        if keras.backend.backend() == "jax":
            # There, `fit` holds the weights elsewhere.
            self.model.jax_state_sync()
        assert self._measure is not None
        trial = None
        if "update_to_weight" in self.measures:
            trial = TrialOptimizer(self.model, self.model.optimizer)
        diagnosis = diagnosis_of(
            self._measure, self._batch, trial, weights=trial is not None
        )
        if self.keep:
            self.history.append((self._step, diagnosis))
        self._write(diagnosis)
        if self._watch is None:
            self._watch = Watch(diagnosis.rows, diagnosis.layers, self.explosion)
        if self.alarm is None:
            alarm = self._watch(self._step, diagnosis.rows)
            if alarm is not None:
                self._sound(alarm)

    def _write(self, diagnosis: Diagnosis) -> None:
        rows = diagnosis.rows
        if self.csv_path is not None:
            with self.csv_path.open("a", newline="") as file:
                csv.writer(file).writerows(
                    [self._step, row.name, *self._recorded(row)] for row in rows
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
            self._writer.write(scalars, self._step)

    def _recorded(self, row: BlockRow | LayerRow) -> list[float | None]:
        return [getattr(row, measure, None) for measure in self.measures]

    def _sound(self, alarm: Alarm) -> None:
        self.alarm = alarm
        if self.action != "none":
            warnings.warn(alarm.text, RuntimeWarning, stacklevel=2)
        if self.action == "stop":
            self.model.stop_training = True
