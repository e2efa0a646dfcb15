"""Monitor of a network during training: a callback that measures every block."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from fixinit import _keras
from fixinit._checked import checked
from fixinit._validation import check_choice, check_number, check_positive_int
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.doctor.alarm import Alarm, Watch
from fixinit.diagnostics.doctor.diagnose import diagnosis_of, evidence_of, refusal
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.peaks import Losses, Peaks, WeightNorm, step_size
from fixinit.diagnostics.doctor.program import Program, holds_one_array
from fixinit.diagnostics.doctor.recording import Recording
from fixinit.diagnostics.doctor.remedies import started_anew
from fixinit.diagnostics.doctor.rules import findings
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.measure import Measure, Measured
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


class Monitor(keras.callbacks.Callback):
    """Records what happens in every block during `fit`, and sounds the alarm.

    A measurement is one forward and one backward pass on a batch of its own, compiled
    once. It takes place before the first step, after steps 1, 2, 4, 8, ..., then every
    `every` steps, and at once when the loss, or the norm of all weights, is twice the
    largest of late.

    Before the first step it does what `check` does, and warns of errors; the remedy is
    the reader's to take, and training begins.

    The alarm goes off when a mean square, of an output or of the gradient that comes
    back to it, or the loss is not finite. It goes off before that when the loss is ten
    times what it was at first, a mean square has grown by `explosion`, and

    * the optimizer's next step, tried on copies, is larger than the weights; or
    * that is so for `every` steps, and nothing has come back; or
    * there is no optimizer to try, and the loss is a thousand times what it was.

    So training that makes progress is never stopped, whatever grows, and neither is a
    jump of the loss that the optimizer recovers from. What was 0 at first, as the
    gradient in front of a head of zeros, is compared with the largest value that any
    layer had. Without targets, losses are those of the training.

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
    ([0, 1, 2, 4], None)

    Args:
        x: The batch that is measured, as `diagnose` takes it. No larger than a
            training batch, a measurement costs about as much as three steps.
        y: Its targets, or `None`.
        every: int, 100 by default. Steps between two regular measurements.
        measures: Tuple of strings, which measures are recorded: attributes of
            `BlockRow`.
        csv_path: Path of a CSV file, one row per measurement and block. A file that is
            there when a monitor begins is replaced.
        log_dir: Directory for TensorBoard: the measures of at most 50 blocks, and the
            growth per block.
        action: `"stop"` (default) ends training at the alarm, with a warning; `"warn"`
            only warns, once per `fit`; `"none"` only sets `alarm`.
        explosion: float, 1000 by default. Growth of a mean square since the first
            measurement that counts, where the loss has grown as well.
        keep: bool. Whether `history` keeps every `Diagnosis`. For very deep networks
            and long runs `False` saves memory.
        check: bool. `False` measures before the first step, and judges nothing.

    Attributes:
        history: List of `(step, Diagnosis)`. The weights are measured as well if
            `"update_to_weight"` is among the measures.
        alarm: `Alarm`, a `Finding`, of the last `fit`, or `None`.
        findings: List of `Finding`: what `check` finds before the first step.

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
        check: bool = True,
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
        self.keep, self.check = keep, check
        self.history: list[tuple[int, Diagnosis]] = []
        self.alarm: Alarm | None = None
        self.findings: list[Finding] = []
        self._recording = Recording(self.measures, csv_path, log_dir)
        self._subject: Subject | None = None
        self._measure: Measure | None = None
        self._compiled = None
        self._watch: Watch | None = None
        self._loss: float | None = None
        self._norm = WeightNorm([])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._subject is None or self._subject.model is not self.model:
            self._subject, self._measure = Subject(self.model, self.x), None
        self._batch = Program(
            self._subject,
            *check_batch(self._subject, self.x, self.y),
            is_array=holds_one_array(self.x),
        )
        self.alarm = None
        self._recording.open()
        # `compile` may have changed the loss, which a measure has compiled.
        compiled = _keras.compiled_loss(self.model)
        is_new = self._measure is None
        if is_new or compiled is not self._compiled:
            self._measure, self._compiled = Measure(self._subject), compiled
            self._losses = Losses()
        trained = self.model.trainable_variables
        if is_new or not self._norm.is_of(trained):
            # Others are large at another size.
            self._norms, self._norm = Peaks(), WeightNorm(trained)
            self._sync()
            self._norms.is_large(self._norm())
        if is_new:
            self._begin()

    def _begin(self) -> None:
        self._step, self._measured = 0, -1
        self.history, self.findings = [], []
        self._watch, self._loss = None, None
        self._recording.start_file()
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
            self._norms.start_window()
            self._record()
        # Early on, after powers of two.
        elif self._step.bit_length() > last.bit_length() or (
            jumps and self.alarm is None
        ):
            self._record()

    def _jumps(self, done: int, loss: Any) -> bool:
        """Whether the loss of the last batches, or the norm of the weights, is large.

        A `train_step` of one's own may log no loss, or that of the batch.
        """
        jumps = False
        if loss is not None:
            self._loss = loss = float(loss)
            if has_own(self.model, "train_step"):
                jumps = self._losses.is_large(loss)
            else:
                jumps = self._losses.jump(done, loss)
                self._loss = self._losses.last
        if self.alarm is None:
            self._sync()
            # A step may ruin the weights at once, and the next loss with them.
            jumps = self._norms.is_large(self._norm()) or jumps
        return jumps

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._recording.close()

    def _sync(self) -> None:
        if keras.backend.backend() == "jax":
            # There, `fit` holds the weights elsewhere.
            self.model.jax_state_sync()

    def _record(self) -> None:
        if self._measured == self._step:
            return
        self._measured = self._step
        self._sync()
        if self.check and self._step == 0:
            found, diagnosis = self._examined()
        else:
            found, diagnosis = self._diagnosed()
        if self.keep:
            self.history.append((self._step, diagnosis))
        self._recording(self._step, diagnosis)
        if self._watch is None:
            self._watch = Watch(diagnosis, self.explosion, self.every)
        if self.alarm is None:
            alarm = self._watch(
                self._step,
                diagnosis,
                self._loss if diagnosis.loss is None else diagnosis.loss,
                lambda: self._next_step(found),
                lambda size: started_anew(self._evidence(found, diagnosis), size),
            )
            if alarm is not None:
                self._sound(alarm)

    def _diagnosed(self) -> tuple[Measured, Diagnosis]:
        assert self._measure is not None
        trial = None
        if "update_to_weight" in self.measures:
            trial = TrialOptimizer(self.model, self.model.optimizer)
        batch = self._batch
        found = self._measure(batch.x, batch.y, batch.given)
        weights = trial is not None
        return found, diagnosis_of(self._measure, found, batch, trial, weights)

    def _examined(self) -> tuple[Measured, Diagnosis]:
        """The first measurement, and what the rules of `diagnose` find in it."""
        with warnings.catch_warnings():
            # Of optimizers that cannot be copied, for which nobody has asked.
            warnings.simplefilter("ignore")
            evidence, refused = evidence_of(
                self._batch, batch_size=len(self._batch), measure=self._measure
            )
        self.findings = findings(evidence)
        for finding in self.findings:
            if finding.severity == "error" and self.action != "none":
                warnings.warn(f"{finding.kind}: {finding}", RuntimeWarning, 2)
        if refused is not None:
            reason = refusal(self.findings)
            if reason is None:
                raise refused
            raise ValueError(
                "The batch of a `Monitor` must be one that the model can be trained "
                f"on. {reason.cause}"
            ) from refused
        return evidence.measured, evidence.diagnosis

    def _evidence(self, found: Measured, diagnosis: Diagnosis) -> Evidence:
        """What a remedy is written from."""
        optimizer = self.model.optimizer if self.model.compiled else None
        return Evidence(self._batch, (), diagnosis, found, optimizer)

    def _next_step(self, found: Measured) -> float | None:
        """Size of the optimizer's next step, tried on copies; `None` without one."""
        try:
            trial = TrialOptimizer(self.model, self.model.optimizer)
        except TypeError:
            return None
        before = trial.weights
        trial.step(found.gradients)
        return step_size(trial.weights, before)

    def _sound(self, alarm: Alarm) -> None:
        self.alarm = alarm
        if self.action != "none":
            warnings.warn(str(alarm), RuntimeWarning, stacklevel=2)
        if self.action == "stop":
            self.model.stop_training = True
