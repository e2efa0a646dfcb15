"""Statistics of weights, of their gradients, and of an optimizer's step."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from fixinit import graph
from fixinit._typing import Tensor
from fixinit.diagnostics._shared.trial_optimizer import TrialOptimizer

# Mean squares and ratios by name; arrays with the axes of the stacks around the call.
Statistics = dict[str, np.ndarray]
# Value, gradient and stepped value of a variable.
Row = tuple[Tensor, Tensor | None, Tensor | None]


def weight_statistics(
    model_graph: graph.Graph,
    model: keras.Model,
    gradients: Sequence[Tensor],
    trial: TrialOptimizer | None = None,
) -> dict[str, Statistics]:
    """Computes mean squares of weights and gradients, and update-to-weight ratios.

    Args:
        model_graph: `fixinit.graph.Graph` of the model.
        model: `keras.Model`.
        gradients: List of tensors, one for each of the model's trainable variables.
        trial: `TrialOptimizer` of the model, which makes a step. `None` leaves the
            ratios out.

    Returns:
        Dict from the names of calls with weights to dicts of `"weight_mean_square"`,
        `"weight_gradient_mean_square"` and `"update_to_weight"`: arrays with the axes
        of the stacks around the call. They are those of the layer's kernel, or of
        all its weights if it has none. A frozen kernel has the first alone.
    """
    updated: list[Tensor | None] = [None] * len(gradients)
    if trial is not None:
        trial.step(gradients)
        updated = trial.weights
    rows = {id(v): (v.value, None, None) for v in model.non_trainable_variables}
    trained = zip(model.trainable_variables, gradients, updated, strict=True)
    rows |= {id(v): (v.value, *values) for v, *values in trained}
    found: dict[str, Statistics] = {}
    _collect(model_graph, rows, {}, 0, found)
    return found


def _collect(
    model_graph: graph.Graph,
    rows: Mapping[int, Row],
    outer: Mapping[int, keras.Variable],
    num_axes: int,
    found: dict[str, Statistics],
) -> None:
    """Adds the calls of a graph.

    Args:
        outer: Dict from the id of a variable of a stack's template to the variable
            that holds it for all blocks.
        num_axes: int. Number of stacks around the graph.
    """
    for call in model_graph.calls:
        if call.body is not None:
            stack = call.operation
            inner = {
                id(template): outer.get(id(stacked), stacked)
                for template, stacked in zip(
                    stack.block.variables, stack.stacked_variables, strict=True
                )
            }
            _collect(call.body, rows, inner, num_axes + 1, found)
            continue
        kernel = call.weight
        weights = getattr(call.operation, "trainable_variables", [])
        # Trained or frozen. A kernel may also be computed, and is no weight then.
        if any(kernel is w for w in getattr(call.operation, "weights", [])):
            weights = [kernel]
        keys = [id(outer.get(id(w), w)) for w in weights]
        held = [rows[key] for key in keys if key in rows]
        if held:
            found[call.name] = _statistics(held, num_axes)


def _statistics(held: Sequence[Row], num_axes: int) -> Statistics:
    values, gradients, updated = zip(*held, strict=True)
    size = sum(np.prod(v.shape[num_axes:]) for v in values)
    weight = _sum_of_squares(values, num_axes)
    statistics = {"weight_mean_square": weight / size}
    if gradients[0] is not None:
        squares = _sum_of_squares(gradients, num_axes)
        statistics["weight_gradient_mean_square"] = squares / size
    if updated[0] is not None:
        steps = [new - old for new, old in zip(updated, values, strict=True)]
        moved = _sum_of_squares(steps, num_axes)
        # Weights that start at zero are moved by infinitely many times their size.
        with np.errstate(divide="ignore", invalid="ignore"):
            statistics["update_to_weight"] = np.sqrt(moved / weight)
    return statistics


def _sum_of_squares(tensors: Sequence[Tensor], num_axes: int) -> np.ndarray:
    total = np.zeros(())
    for tensor in tensors:
        values = ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")
        values = values.reshape(*values.shape[:num_axes], -1)
        with np.errstate(over="ignore", invalid="ignore"):
            total = total + np.einsum("...i,...i", values, values)
    return total
