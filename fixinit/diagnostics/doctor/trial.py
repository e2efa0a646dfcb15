"""Trial: some steps of the optimizer on copies of the weights."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops, tree

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer
from fixinit.diagnostics._shared.weight_loss import weight_loss
from fixinit.diagnostics.doctor.program import Program
from fixinit.graph.functional import is_subclassed

# Steps for a network of up to `_SMALL` weights; larger ones take `_FEW`, in which a
# branch behind two zeros opens.
_STEPS, _FEW, _SMALL = 10, 3, 300_000
# Batches whose losses are compared before and after all steps.
_COMPARED = 3

# Root mean square of a weight that stands for zero, as in the last layers of branches:
# what is drawn in order to pass signals on is larger.
_NEGLIGIBLE = 1e-5


@dataclasses.dataclass(frozen=True)
class Trial:
    """Some steps of the optimizer, each on the next batch, on copies of the weights.

    Attributes:
        losses: List of floats. Loss of each step's batch just before the step.
        again: float. Loss of the first batch after its step, with the same noise.
        before: float. Mean loss of the first batches before the first step.
        after: float. That after the last step.
        update: Dict from the path of a variable to norm(first step) / norm(variable),
            infinite for one that stands for zero.
        moved: Dict from the path of a variable to whether any step moved it.
        reached: Set of the paths of variables that got a gradient in any step, or get
            one after the last.
    """

    losses: list[float]
    again: float
    before: float
    after: float
    update: dict[str, float]
    moved: dict[str, bool]
    reached: set[str]


def tried(program: Program, trial: TrialOptimizer, batch_size: int) -> Trial:
    """Makes trial steps; weights, optimizer and random state stay as they are.

    Args:
        program: `Program`, with targets.
        trial: `TrialOptimizer` that has made no step.
        batch_size: int.
    """
    model = program.subject.model
    paths = [v.path for v in model.trainable_variables]
    evaluate = _loss_and_gradients(program)
    count = _STEPS if model.count_params() <= _SMALL else _FEW
    batches = _batches(program, batch_size, count)
    start = _arrays(trial.weights)
    found = [evaluate(trial.weights, batch) for batch in batches[:_COMPARED]]
    before = float(np.mean([value for value, _ in found]))
    losses: list[float] = []
    update: dict[str, float] = {}
    again, reached = math.nan, set[str]()
    for index in range(count):
        value, gradients = found[0]
        if index:
            value, gradients = evaluate(trial.weights, batches[index % len(batches)])
        losses.append(value)
        reached |= _reached(paths, gradients, reached)
        if not math.isfinite(value):
            break
        trial.step(gradients)
        if not index:
            steps = zip(paths, _arrays(trial.weights), start, strict=True)
            update = {path: _ratio(new, old) for path, new, old in steps}
            again, _ = evaluate(trial.weights, batches[0])
    end = trial.weights
    last = []
    for batch in batches[:_COMPARED]:
        value, gradients = evaluate(end, batch)
        last.append(value)
        reached |= _reached(paths, gradients, reached)
    pairs = zip(paths, _arrays(end), start, strict=True)
    moved = {path: bool(np.any(new != old)) for path, new, old in pairs}
    after = float(np.mean(last))
    return Trial(losses, again, before, after, update, moved, reached)


def _reached(
    paths: Sequence[str], gradients: Sequence[Tensor], known: set[str]
) -> set[str]:
    """Paths of the variables with a gradient that is not zero, but the known ones."""
    return {
        path
        for path, gradient in zip(paths, gradients, strict=True)
        if path not in known and ops.convert_to_numpy(gradient).any()
    }


def _loss_and_gradients(
    program: Program,
) -> Callable[[Sequence[Tensor], Program], tuple[float, list[Tensor]]]:
    """Compiles `(weights, batch) -> (loss, gradients)`."""
    model = program.subject.model
    value = weight_loss(program.subject, program.loss, program.training)
    # A `call` of one's own may read tensors that it holds: JAX compiles them in as
    # arguments that a second call does not give.
    compiled = backend.value_and_gradients(value, compiles=not is_subclassed(model))

    def evaluate(
        weights: Sequence[Tensor], batch: Program
    ) -> tuple[float, list[Tensor]]:
        others = [v.value for v in model.non_trainable_variables]
        tensors = map(_tensors, (list(batch.x), batch.y, batch.given))
        with backend.kept_random_state():
            found, gradients = compiled(weights, others, *tensors)
        return float(ops.convert_to_numpy(found)), gradients

    return evaluate


def _tensors(structure: Any) -> Any:
    if structure is None:
        return None
    return tree.map_structure(ops.convert_to_tensor, structure)


def _batches(program: Program, size: int, count: int) -> list[Program]:
    """Batches of shuffled samples, as `fit` makes them; all of one size."""
    total = len(program)
    size = min(size, total)
    order = np.arange(total)
    if total > size:
        # A fixed order: what is said of a program does not change from call to call.
        np.random.default_rng(0).shuffle(order)
    starts = range(0, total - size + 1, size)[:count]
    return [program.at(order[i : i + size]) for i in starts]


def _arrays(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    return [ops.convert_to_numpy(ops.cast(t, "float32")) for t in tensors]


def _ratio(new: np.ndarray, old: np.ndarray) -> float:
    norm = float(np.linalg.norm(old.astype("float64")))
    step = float(np.linalg.norm(new.astype("float64") - old.astype("float64")))
    if norm <= _NEGLIGIBLE * math.sqrt(old.size):
        return math.inf if step else 0.0
    return step / norm
