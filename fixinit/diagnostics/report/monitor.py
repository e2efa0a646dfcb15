"""Watches a network from block to block while it trains."""

import csv
import math
import pathlib
import warnings

import keras
import numpy as np

from fixinit import _keras, backend
from fixinit._validation import check_choice, check_number, check_positive_int
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.report.diagnose import diagnosis_of
from fixinit.diagnostics.report.measure import Measure

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
# Measures that may explode.
_WATCHED = ("mean_square", "gradient_mean_square")
# TensorBoard shows so many curves, of blocks at even distances.
_MAX_CURVES = 50


class Monitor(keras.callbacks.Callback):
    """Records what happens in every block during `fit`, and sounds the alarm.

    A measurement is one forward and one backward pass on a batch of its own, compiled
    once. It takes place before the first step, then every so many steps, and at once
    when the loss is twice the largest of late. The alarm goes off when the mean square
    of a block's output, or of the gradient that comes back to it, has grown by
    `explosion` since the first measurement, or is not finite. What was 0 then, as the
    gradient in front of a head of zeros, is compared with the largest value that any
    layer had. Without residual blocks it watches the layers.

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
        measures: Tuple of strings, which measures are recorded: any keys of a
            `Diagnosis`'s blocks.
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
        alarm: `None`, or a dict of `"step"`, `"block"`, the name of the block where it
            began, `"measure"`, `"growth"` and `"text"`: that of the last `fit`.

    Raises:
        ValueError: If an argument is outside its range.
        TypeError, ValueError: When training begins, what `diagnose` raises.
    """

    def __init__(
        self,
        x,
        y=None,
        every=100,
        measures=("mean_square", "gradient_mean_square", "branch_to_shortcut"),
        csv_path=None,
        log_dir=None,
        action="stop",
        explosion=1000.0,
        keep=True,
    ):
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
        self.history = []
        self.alarm = None
        self._writer = self._measure = self._compiled = None

    def on_train_begin(self, logs=None):
        self._batch = check_batch(self.model, self.x, self.y)
        self.alarm = None
        if self.log_dir is not None:
            self._writer = backend.SummaryWriter(self.log_dir)
        is_new = self._measure is None or self._measure.model is not self.model
        # `compile` may have changed the loss, which a measure has compiled.
        compiled = _keras.compiled_loss(self.model)
        if is_new or compiled is not self._compiled:
            self._measure, self._compiled = Measure(self.model), compiled
            self._losses = _Losses()
        if is_new:
            self._begin()

    def _begin(self):
        self._step, self._measured = 0, -1
        self.history, self._first = [], None
        if self.csv_path is not None:
            self.csv_path.parent.mkdir(parents=True, exist_ok=True)
            with self.csv_path.open("w", newline="") as file:
                csv.writer(file).writerow(["step", "block", *self.measures])
        self._record()

    def on_epoch_begin(self, epoch, logs=None):
        self._before_epoch = self._step
        self._losses.start_epoch()

    def on_train_batch_end(self, batch, logs=None):
        # `batch` is the last of those that one execution has taken.
        done = min(batch + 1, self.params.get("steps") or math.inf)
        last, self._step = self._step, self._before_epoch + done
        jumps = self._losses.jump(done, float((logs or {}).get("loss", math.nan)))
        if self._step // self.every > last // self.every:
            self._losses.start_window()
            self._record()
        elif jumps and self.alarm is None:
            self._record()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _record(self):
        if self._measured == self._step:
            return
        self._measured = self._step
        if keras.backend.backend() == "jax":
            # There, `fit` holds the weights elsewhere.
            self.model.jax_state_sync()
        trial = None
        if "update_to_weight" in self.measures:
            trial = TrialOptimizer(self.model, self.model.optimizer)
        diagnosis = diagnosis_of(
            self._measure, *self._batch, trial, weights=trial is not None
        )
        if self.keep:
            self.history.append((self._step, diagnosis))
        rows = diagnosis.blocks or diagnosis.layers
        self._write(diagnosis, rows)
        if self._first is None:
            self._first = {m: _baseline(m, rows, diagnosis.layers) for m in _WATCHED}
        if self.alarm is None:
            self._watch(rows)

    def _write(self, diagnosis, rows):
        if self.csv_path is not None:
            with self.csv_path.open("a", newline="") as file:
                csv.writer(file).writerows(
                    [self._step, row["name"], *(row.get(m) for m in self.measures)]
                    for row in rows
                )
        if self._writer is not None:
            picked = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_CURVES))
            scalars = {
                f"{measure}/{rows[i]['name']}": rows[i].get(measure, math.nan)
                for measure in self.measures
                for i in picked.round().astype(int)
            }
            scalars["growth/rate"] = diagnosis.growth.rate
            scalars["growth/total"] = diagnosis.growth.total
            self._writer.write(scalars, self._step)

    def _watch(self, rows):
        """Sounds the alarm at the first block, from the input, that has exploded."""
        for measure in _WATCHED:
            found = list(zip(rows, self._first[measure], strict=True))
            if measure == "gradient_mean_square":
                found.reverse()  # The way that gradients go.
            for row, first in found:
                growth = _growth(row[measure], first)
                if growth > self.explosion:
                    self._sound(row["name"], measure, growth)
                    return

    def _sound(self, block, measure, growth):
        what = measure.replace("_", " ")
        if math.isinf(growth):
            text = (
                f"Step {self._step}: the {what} of {block} is not finite: the model "
                "has diverged. Go back to weights from before that, and lower"
            )
        else:
            text = (
                f"Step {self._step}: the {what} of {block} has grown {growth:.3g} "
                f"times since training began, more than {self.explosion:g}; training "
                "is about to diverge. Lower"
            )
        text += " the learning rate, warm it up, or clip gradients (global_clipnorm)."
        self.alarm = {
            "step": self._step,
            "block": block,
            "measure": measure,
            "growth": growth,
            "text": text,
        }
        if self.action != "none":
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        if self.action == "stop":
            self.model.stop_training = True


class _Losses:
    """The losses of batches, from the means over an epoch's batches that `fit` logs."""

    def __init__(self):
        # The largest since the last regular measurement, and between the two before.
        self._peaks = None

    def start_epoch(self):
        self._done, self._mean = 0, 0.0

    def start_window(self):
        self._peaks = [-math.inf, self._peaks[0]]

    def jump(self, done, mean):
        """Whether the loss of the last batches is large, or no number.

        Args:
            done: int. Batches of this epoch so far.
            mean: float. The mean of their losses.
        """
        count = done - self._done
        loss = (done * mean - self._done * self._mean) / max(count, 1)
        self._done, self._mean = done, mean
        if self._peaks is None:
            self._peaks = [loss, loss]
        # NaN compares as false, and is a jump.
        jumps = not loss <= 2 * abs(max(self._peaks))
        if not math.isnan(loss):
            self._peaks[0] = max(self._peaks[0], loss)
        return jumps


def _baseline(measure, rows, layers):
    """For every row, what its growth is measured from.

    From zero, as behind Fixup's head, everything would be an explosion, and so would
    the first steps away from it. A bound that they keep is the largest value in the
    network: for gradients that of the outputs, which is there from the first step.
    """
    finite = [row[measure] for row in layers if math.isfinite(row[measure])]
    largest = max(finite, default=0.0)
    return [row[measure] or largest for row in rows]


def _growth(value, first):
    if not math.isfinite(value):
        return math.inf
    return value / first if first > 0 else 1.0
