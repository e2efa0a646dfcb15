"""Diagnosis of a training program by forward and backward passes."""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fixinit import graph
from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit.diagnostics._shared.finite import weights_not_finite
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.doctor.evidence import Evidence
from fixinit.diagnostics.doctor.heads import heads_of
from fixinit.diagnostics.doctor.program import Program, program_of
from fixinit.diagnostics.doctor.rules import findings
from fixinit.diagnostics.doctor.trial import tried
from fixinit.diagnostics.doctor.whole import WHOLE, check_whole, whole
from fixinit.diagnostics.report.asked import asked_columns, whole_costs
from fixinit.diagnostics.report.columns import MEASURES, Columns, check_measures
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.finding import Finding
from fixinit.diagnostics.report.infinities import with_overflow
from fixinit.diagnostics.report.measure import Measure, Measured
from fixinit.diagnostics.report.openings import closed_blocks
from fixinit.diagnostics.report.rows import block_rows, layer_rows, weight_path
from fixinit.diagnostics.report.weights import weight_statistics

# Samples of a trial step, as many as `fit` takes by default.
_TRIAL_BATCH = 32
# Kinds of what a loss may refuse: targets, and outputs that have overflowed.
_REFUSED = (
    *("label_range", "target_range", "last_activation", "loss_mismatch"),
    *("not_finite", "exploding"),
)


@checked
def diagnose(
    model: keras.Model,
    x: Any,
    y: Any = None,
    loss: Identifier | None = None,
    optimizer: Identifier | None = None,
    training: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    measures: Sequence[str] = (),
) -> Diagnosis:
    """Measures activations and gradients of a model by layer and by residual block.

    One forward and one backward pass measure everything; `fixinit.layers.Stack`s are
    not unrolled. The model, its optimizer and its random state stay as they are.

    For an activation h of shape `(batch, ..., channels)`: the mean square is
    mean(h^2); the variance is that over batch and space, averaged over channels; a
    channel is never (always) active if h <= 0 (h > 0) for all samples and positions;
    the correlation is the mean over pairs of samples of the cosine between them. Of
    gradients, dh is that of the loss with respect to h. Infinities that nothing reads
    on, as the -inf of padding in front of max pooling, count as 0.

    Example:

    >>> model = fixinit.models.ResidualMLP(
    ...     num_blocks=16, units=64, scheme="unnormalized", seed=0
    ... )
    >>> x = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
    >>> diagnosis = fixinit.diagnostics.diagnose(model, x)
    >>> diagnosis.growth.kind, 1.8 < diagnosis.growth.rate < 2.2
    ('exponential', True)

    Args:
        model: `keras.Model`: functional, Sequential, or of a class of one's own whose
            `call` is made of layers and `keras.ops`; of any layers. One that is not
            built is built on the shapes of `x`, as `fit` does. Layers of classes of
            one's own that hold others are looked into (`fixinit.graph.opened`).
            Residual blocks are found by `fixinit.graph.find_blocks`.
        x: Array of inputs, or a list or dict of them for several inputs.
        y: Targets, in the structure of the outputs. `None` takes the gradient of a
            sum of the outputs with fixed weights of +1 and -1 instead of a loss.
        loss: Keras loss, its name, or a callable `(y_true, y_pred)`, for each of the
            outputs. By default what `fit` minimizes, the `compute_loss` of the compiled
            model; for a `train_step` of one's own, that is what can be measured. If
            the model is not compiled, cross-entropy for integer targets (classes or
            one-hot), mean squared error for others. Regularizers and losses that
            layers add are part of it in any case.
        optimizer: Keras optimizer for the update-to-weight ratios, norm(step) /
            norm(weight), that of the compiled model by default. It is not changed: a
            copy made from its `get_config()` takes the step.
        training: bool. Whether layers run in training mode: BatchNormalization with
            the batch's own statistics, dropout on.
        sample_weight: As `fit` takes it: array with a weight for every sample, or for
            every step of it; for several outputs also a list or dict of them.
        class_weight: As `fit` takes it: dict from classes to weights.
        measures: Tuple of strings, what else is measured, any of `"flops"`, `"bytes"`,
            `"float16"`, `"bfloat16"`, `"float8_e4m3"`, `"float8_e5m2"`, `"kurtosis"`
            and `"histograms"`, which are columns of all rows, and of the whole
            model `"noise_scale"` (`gradient_noise_scale`) and `"curvature"`
            (`loss_curvature`, and the overshoot of the optimizer's learning rate).

    Returns:
        `Diagnosis`.

    Raises:
        TypeError: If the model has no graph, if `x` is a data set, ragged, or of
            integers where the model takes floating-point numbers and neither embeds
            nor rescales them, or if `optimizer` cannot be copied. That of a compiled
            model is then left out, with a warning.
        ValueError: If `x` and `y` do not fit the model or hold NaN, if a model that is
            not built cannot be built on `x`, or if no default loss follows from the
            targets, as from integers for one unit without a sigmoid.
    """
    measures = check_measures(measures, (*MEASURES, *WHOLE))
    program = program_of(model, x, y, loss, training, sample_weight, class_weight)
    check_whole(measures, program)
    return examined(program, optimizer, len(program), measures)


def examined(
    program: Program,
    optimizer: Identifier | None,
    batch_size: int,
    measures: Sequence[str] = (),
) -> Diagnosis:
    """The diagnosis of a training program, with findings.

    Args:
        program: `Program`.
        optimizer: As `diagnose` takes it.
        batch_size: int. How many of the samples are measured.
        measures: As `diagnose` takes them, checked.
    """
    evidence, refused = evidence_of(program, optimizer, batch_size, measures)
    named = findings(evidence)
    if refused is not None and refusal(named) is None:
        raise refused
    found = evidence.diagnosis
    is_finite = found.loss is not None and math.isfinite(found.loss)
    is_finite = is_finite and not found.bad_weights
    of_whole = whole(measures, program.first(batch_size), evidence.optimizer, is_finite)
    asked = {**found.asked, **of_whole}
    return dataclasses.replace(found, findings=named, asked=asked)


def refusal(named: Sequence[Finding]) -> Finding | None:
    """The finding that says why a loss cannot be computed, if one does."""
    return next(
        (f for f in named if f.severity == "error" and f.kind in _REFUSED), None
    )


def evidence_of(
    program: Program,
    optimizer: Identifier | None = None,
    batch_size: int = _TRIAL_BATCH,
    measures: Sequence[str] = (),
    measure: Measure | None = None,
) -> tuple[Evidence, Exception | None]:
    """`(evidence, refused)`: what the rules see; arguments as of `examined`.

    `refused` is the exception of a loss that does not take the targets; everything is
    then measured without them. A `measure` of the program, where there is one, is not
    compiled again.
    """
    subject, first = program.subject, program.first(batch_size)
    columns = Columns.of(measures)
    if measure is None:
        measure = Measure(subject, program.loss, program.training, columns)
    refused = None
    try:
        found = measure(first.x, first.y, first.given)
    except Exception as error:
        # Backends refuse labels out of range, each in its own way and with words that
        # do not name them.
        refused, first = error, first.without_targets()
        found = measure(first.x)
    trial = _trial(subject.model, optimizer)
    diagnosis = diagnosis_of(measure, found, first, trial)
    steps, trained_by = None, _optimizer(subject.model, optimizer)
    trains = trial is not None and bool(subject.model.trainable_variables)
    if first.y is not None and trains and math.isfinite(found.loss):
        again = TrialOptimizer(subject.model, trained_by)
        size = program.batch_size or min(batch_size, _TRIAL_BATCH)
        steps = tried(program, again, size)
    outputs = [ops.convert_to_numpy(ops.cast(h, "float32")) for h in found.outputs]
    evidence = Evidence(
        program=program,
        heads=heads_of(subject, program.loss, program.y, outputs),
        diagnosis=diagnosis,
        measured=found,
        optimizer=trained_by,
        trial=steps,
    )
    return evidence, refused


def _optimizer(
    model: keras.Model, optimizer: Identifier | None
) -> keras.optimizers.Optimizer | None:
    if optimizer is not None:
        return keras.optimizers.get(optimizer)
    return model.optimizer if model.compiled else None


def _trial(model: keras.Model, optimizer: Identifier | None) -> TrialOptimizer | None:
    """Makes the `TrialOptimizer` of a model, by default with its own optimizer.

    Args:
        model: `keras.Model`.
        optimizer: As `diagnose` takes it.

    Returns:
        `TrialOptimizer`, `None` if there is no optimizer, or none that can be copied.
    """
    if optimizer is not None:
        return TrialOptimizer(model, optimizer)
    if not model.compiled or model.optimizer is None:
        return None
    try:
        return TrialOptimizer(model, model.optimizer)
    except TypeError as error:
        # Nobody has asked for it.
        warnings.warn(f"Update-to-weight ratios are left out. {error}", stacklevel=6)
        return None


def diagnosis_of(
    measure: Measure,
    found: Measured,
    batch: Program,
    trial: TrialOptimizer | None,
    weights: bool = True,
) -> Diagnosis:
    """Makes the diagnosis, without findings, of a batch that was measured.

    Args:
        measure: `Measure` of the model.
        found: `Measured`, what it gave for the batch.
        batch: `Program` on the batch.
        trial: `TrialOptimizer` of the model, which makes a step for the
            update-to-weight ratios, or `None`.
        weights: bool. `False` leaves out what is measured of the weights one by one,
            which takes longer than all the rest where a network is small.
    """
    model, traced = measure.model, measure.graph
    statistics: dict = {}
    if weights:
        statistics = weight_statistics(traced, model, found.gradients, trial)
    forward = with_overflow(traced, found.forward)
    draws = graph.equal_draws(traced) if weights else []
    asked = asked_columns(measure, found, len(batch))
    layers = layer_rows(traced, forward, found.backward, statistics, draws, asked)
    first, blocks = block_rows(traced, forward, found.backward, layers, asked)
    return Diagnosis(
        name=model.name,
        layers=layers,
        blocks=blocks,
        input=first,
        weight_path=[] if blocks else weight_path(traced, layers),
        loss=None if batch.y is None else found.loss,
        batch_size=len(batch),
        training=measure.training,
        bad_weights=list(weights_not_finite(model)) if weights else [],
        closed=_closed(measure, found, batch) if weights else [],
        equal_draws=[list(group.names) for group in draws],
        asked=whole_costs(model, layers),
    )


def _closed(measure: Measure, found: Measured, batch: Program) -> list[str]:
    """Names of the blocks whose branches cannot open."""
    model, traced, size = measure.model, measure.graph, len(batch)
    closed = closed_blocks(model, traced, found, size)
    if closed and measure.training:
        # Stochastic depth may have dropped a branch from this batch.
        again = measure.in_test_mode()(batch.x, batch.y, batch.given)
        still = closed_blocks(model, traced, again, size)
        closed = [name for name in closed if name in still]
    return closed
