"""Diagnosis of a model by one forward and one backward pass."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fixinit import graph
from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit.diagnostics._shared.finite import weights_not_finite
from fixinit.diagnostics._shared.sample_weights import sample_weights
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics._shared.targets import check_batch
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics.report.diagnosis import Diagnosis
from fixinit.diagnostics.report.infinities import with_overflow
from fixinit.diagnostics.report.measure import Measure, Measured
from fixinit.diagnostics.report.openings import closed_blocks
from fixinit.diagnostics.report.rows import block_rows, layer_rows, weight_path
from fixinit.diagnostics.report.weights import weight_statistics


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
        model: `keras.Model`, built: functional, Sequential, or of a class of one's own
            whose `call` is made of layers and `keras.ops`; of any layers. Those of
            classes of one's own that hold others are looked into
            (`fixinit.graph.opened`). Residual blocks are found by
            `fixinit.graph.find_blocks`.
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

    Returns:
        `Diagnosis`.

    Raises:
        TypeError: If the model has no graph, if `x` is ragged or of integers where
            the model takes floating-point numbers, or if `optimizer` cannot be copied.
            That of a compiled model is then left out, with a warning.
        ValueError: If the model is not built, if `x` and `y` do not fit it or hold
            NaN, or if no default loss follows from the targets, as from integers for
            one unit without a sigmoid.
    """
    subject = Subject(model, x)
    x, y = check_batch(subject, x, y, loss)
    trial = _trial(model, optimizer)
    given = sample_weights(subject, x, y, sample_weight, class_weight)
    return diagnosis_of(Measure(subject, loss, training), x, y, trial, given=given)


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
        warnings.warn(f"Update-to-weight ratios are left out. {error}", stacklevel=4)
        return None


def diagnosis_of(
    measure: Measure,
    x: Sequence[np.ndarray],
    y: Any,
    trial: TrialOptimizer | None = None,
    weights: bool = True,
    given: Any = None,
) -> Diagnosis:
    """Makes the diagnosis that a `Measure` gives for a checked batch.

    Args:
        measure: `Measure` of the model.
        x, y: What `check_batch` gives.
        trial: `TrialOptimizer` of the model, which makes a step for the
            update-to-weight ratios, or `None`.
        weights: bool. `False` leaves out what is measured of the weights one by one,
            which takes longer than all the rest where a network is small.
        given: Weights of the samples, as `sample_weights` gives them.
    """
    model, traced = measure.model, measure.graph
    found = measure(x, y, given)
    statistics: dict = {}
    if weights:
        statistics = weight_statistics(traced, model, found.gradients, trial)
    forward = with_overflow(traced, found.forward)
    draws = graph.equal_draws(traced) if weights else []
    layers = layer_rows(traced, forward, found.backward, statistics, draws)
    first, blocks = block_rows(traced, forward, found.backward, layers)
    return Diagnosis(
        name=model.name,
        layers=layers,
        blocks=blocks,
        input=first,
        weight_path=[] if blocks else weight_path(traced, layers),
        loss=found.loss if y is not None else None,
        batch_size=len(x[0]),
        training=measure.training,
        bad_weights=list(weights_not_finite(model)) if weights else [],
        closed=_closed(measure, found, x, y, given) if weights else [],
        equal_draws=[list(group.names) for group in draws],
    )


def _closed(measure: Measure, found: Measured, x: Any, y: Any, given: Any) -> list[str]:
    """Names of the blocks whose branches cannot open."""
    model, traced, size = measure.model, measure.graph, len(x[0])
    closed = closed_blocks(model, traced, found, size)
    if closed and measure.training:
        # Stochastic depth may have dropped a branch from this batch.
        in_test_mode = measure.in_test_mode()(x, y, given)
        again = closed_blocks(model, traced, in_test_mode, size)
        closed = [name for name in closed if name in again]
    return closed
