"""Rows of a diagnosis: one per layer, and one per residual block."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fixinit import graph
from fixinit.diagnostics.report.asked import Asked, nothing
from fixinit.diagnostics.report.blocks import BlockPlace, block_places
from fixinit.diagnostics.report.columns import COSTS
from fixinit.diagnostics.report.moments import FORWARD
from fixinit.diagnostics.report.row import Row

_DEAD, _SATURATED = FORWARD.index("dead"), FORWARD.index("saturated")
_WEIGHTS = ("weight_mean_square", "weight_gradient_mean_square", "update_to_weight")


# Dict from names of calls to arrays, as `Measure` gives them.
Observations = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class LayerRow(Row):
    """Statistics of one layer: of its output h, and of its weights.

    What does not apply is NaN.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=2, units=16, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> fixinit.diagnostics.diagnose(model, x).layers[0].kind
    'InputLayer'

    Attributes:
        name: Name of the layer, or of the call if a layer is called more than once.
        kind: Class of the layer.
        mean_square: E h^2, over everything.
        variance: Over batch and space, per channel, averaged over channels.
        peak: Largest magnitude.
        correlation: Mean cosine between the representations of two samples.
        never_active: Of activations, the share of channels with h <= 0 at all samples
            and positions.
        always_active: Of activations, the share of channels with h > 0 at all samples
            and positions.
        gradient_mean_square: Mean square of the gradient of the loss by h.
        weight_mean_square: Mean square of the kernel, or of all weights without one.
        weight_gradient_mean_square: Mean square of the gradient by those.
        update_to_weight: Norm of one step of the optimizer over that of the weight.
        changes_shape: bool. In `Diagnosis.weight_path`, whether the shape of the output
            is another than that of the row before.
        dead: Of activations that are flat at 0, as ReLU, the share of channels that are
            0 at all samples and positions: no gradient reaches the weights in front.
        same_draw: Tuple of strings, the layers that hold the same kernel, drawn by an
            equal initializer: see `fixinit.graph.equal_draws`.
        is_cut: bool. Whether no path goes around it, from the inputs that it depends on
            to the outputs; one goes around a branch, and around a gate.
        saturated: Of activations with two bounds, as tanh, the share of outputs within
            a hundredth of the range from them.
        asked: Dict from names to the columns that `measures` of `diagnose` asked for.
    """

    name: str
    kind: str
    mean_square: float
    variance: float
    peak: float
    correlation: float
    never_active: float
    always_active: float
    gradient_mean_square: float
    weight_mean_square: float = math.nan
    weight_gradient_mean_square: float = math.nan
    update_to_weight: float = math.nan
    changes_shape: bool = False
    dead: float = math.nan
    same_draw: tuple[str, ...] = ()
    is_cut: bool = True
    saturated: float = math.nan
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class BlockRow(Row):
    """Statistics of one residual block: of its output, and of its branch.

    What does not apply is NaN.

    Example:

    >>> model = fixinit.models.ResidualMLP(num_blocks=2, units=16, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(8, 40)).astype("float32")
    >>> [row.name for row in fixinit.diagnostics.diagnose(model, x).blocks]
    ['block1', 'block2']

    Attributes:
        name: Name of the block; in a stack, the stack's name and an index.
        mean_square: Of the output, as `LayerRow` describes it.
        variance: Likewise.
        peak: Likewise.
        correlation: Likewise.
        gradient_mean_square: Likewise.
        never_active: Mean over the activations inside of the block.
        always_active: Mean over the activations inside of the block.
        update_to_weight: Mean over the layers inside of the block.
        branch_to_shortcut: Mean square of what the branch adds over that of the
            shortcut.
        branch_depth: int. Number of weight layers in the branch, or `None` in a stack
            whose block is no residual block.
        changes_shape: bool. Whether the output has another shape than the input.
        weights: Names of the branch's weight layers.
        asked: Dict from names to the columns that `measures` of `diagnose` asked for:
            of the output, as of `LayerRow`, and sums of FLOPs and bytes over the
            layers inside of the block.
    """

    name: str
    mean_square: float
    variance: float
    peak: float
    correlation: float
    never_active: float
    always_active: float
    gradient_mean_square: float
    update_to_weight: float
    branch_to_shortcut: float
    branch_depth: int | None
    changes_shape: bool
    weights: tuple[str, ...]
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def layer_rows(
    model_graph: graph.Graph,
    forward: Observations,
    backward: Observations,
    weights: Mapping[str, Mapping[str, np.ndarray]],
    draws: Sequence[graph.EqualDraws] = (),
    asked: Asked = nothing,
) -> list[LayerRow]:
    """Makes a row for every call that puts out floating-point numbers, in order.

    Args:
        model_graph: `fixinit.graph.Graph`.
        forward: Dict from names of calls to what `Measure` gives.
        backward: The same for gradients.
        weights: What `weight_statistics` gives.
        draws: What `fixinit.graph.equal_draws` gives.
        asked: What `asked_columns` gives.
    """
    same = {call: group.names for group in draws for call in group.calls}
    return list(_layer_rows(model_graph, forward, backward, weights, same, asked, ()))


def _layer_rows(
    model_graph: graph.Graph,
    forward: Observations,
    backward: Observations,
    weights: Mapping[str, Mapping[str, np.ndarray]],
    same: Mapping[str, tuple[str, ...]],
    asked: Asked,
    index: tuple[int, ...],
) -> Iterator[LayerRow]:
    passed = _passed(model_graph)
    for call in model_graph.calls:
        if call.body is not None:
            for i in range(call.operation.depth):
                inner = (*index, i)
                for row in _layer_rows(
                    call.body, forward, backward, weights, same, asked, inner
                ):
                    name = row.name.replace(call.name, f"{call.name}[{i}]", 1)
                    yield dataclasses.replace(row, name=name)
        elif call.name in forward and not (index and call.is_input):
            held = weights.get(call.name, {})
            yield LayerRow(
                name=call.name,
                kind=type(call.operation).__name__,
                **_activation(call, forward[call.name][index], backward, index),
                **dict(_weights(held, index)),
                dead=float(forward[call.name][index][_DEAD]),
                same_draw=tuple(n for n in same.get(call.name, ()) if n != call.name),
                is_cut=call.name not in passed,
                saturated=float(forward[call.name][index][_SATURATED]),
                asked=asked(call.name, index),
            )


def _passed(model_graph: graph.Graph) -> set[str]:
    """Names of the calls that a path from an input to an output goes around.

    In any order of the calls, such a path is a value from before that is read after.
    """
    outputs, found = set(model_graph.outputs), set()
    last = {v: i for i, call in enumerate(model_graph.calls) for v in call.inputs}
    useful = set(outputs)
    for call in reversed(model_graph.calls):
        if useful.intersection(call.outputs):
            useful.update(call.inputs)
    for start in model_graph.inputs:
        reached, live = {start}, {start}
        for index, call in enumerate(model_graph.calls):
            is_reached = not reached.isdisjoint(call.inputs) or start in call.outputs
            live -= {v for v in call.inputs if last[v] == index} - outputs
            if is_reached:
                reached.update(call.outputs)
                live |= useful.intersection(call.outputs)
                if live.difference(call.outputs):
                    found.add(call.name)
    return found


def _weights(held: Mapping[str, np.ndarray], index: tuple) -> Iterator[tuple[str, Any]]:
    for key in _WEIGHTS:
        yield key, float(held[key][index]) if key in held else math.nan


def _activation(
    call: graph.Call, observed: np.ndarray, backward: Observations, index: tuple
) -> dict[str, Any]:
    values = dict(zip(FORWARD, observed.tolist(), strict=True))
    scale = values["peak"] ** 2
    return {
        "mean_square": _times(values["mean_square"], scale),
        "variance": _times(values["variance"], scale),
        "peak": values["peak"],
        "correlation": values["correlation"],
        "never_active": values["never_active"],
        "always_active": values["always_active"],
        "gradient_mean_square": _square(backward[call.name][index]),
    }


def _square(values: np.ndarray) -> float:
    peak, mean_square = values.tolist()
    return _times(mean_square, peak**2)


def _times(value: float, scale: float) -> float:
    # Infinity over itself: it has overflowed.
    return math.inf if math.isinf(scale) else value * scale


def block_rows(
    model_graph: graph.Graph,
    forward: Observations,
    backward: Observations,
    layers: Sequence[LayerRow],
    asked: Asked = nothing,
) -> tuple[LayerRow | None, list[BlockRow]]:
    """`(input, rows)`: the row of what the first block reads, and one per block."""
    places = block_places(model_graph)
    if not places:
        return None, []
    by_name = {row.name: row for row in layers}
    rows = []
    for place in places:
        for index in range(len(place.names)):
            at = (index,) if place.stack else ()
            row = _block_row(place, index, at, forward, backward, by_name, asked)
            rows.append(row)
    return by_name[model_graph.producers()[places[0].start].name], rows


def weight_path(model_graph: graph.Graph, layers: Sequence[LayerRow]) -> list[LayerRow]:
    """Lists the rows by which the growth of a network without blocks is measured.

    They are those of the weight layers on the path through the graph that has the most
    of them, without the last, which is the head.
    """
    # For every value, the length of the longest path to it, and its calls as
    # `(last call, the path before)`.
    paths: dict = {}
    for call in model_graph.calls:
        path = max((paths[v] for v in call.inputs), key=_length, default=(0, None))
        if call.has_weights:
            path = (path[0] + 1, (call, path[1]))
        paths.update(dict.fromkeys(call.outputs, path))
    _, link = max((paths[v] for v in model_graph.outputs), key=_length)
    calls: list[graph.Call] = []
    while link is not None:
        call, link = link
        calls.insert(0, call)
    calls = calls[:-1]
    by_name = {row.name: row for row in layers}
    shapes = [model_graph.specs[call.outputs[0]].shape for call in calls]
    return [
        dataclasses.replace(
            by_name[call.name],
            changes_shape=index > 0 and shape != shapes[index - 1],
        )
        for index, (call, shape) in enumerate(zip(calls, shapes, strict=True))
        if call.name in by_name
    ]


def _length(path: tuple) -> int:
    return path[0]


def _block_row(
    place: BlockPlace,
    number: int,
    index: tuple[int, ...],
    forward: Observations,
    backward: Observations,
    by_name: Mapping[str, LayerRow],
    asked: Asked,
) -> BlockRow:
    stack = place.stack
    names = {call.name for call in _calls(place)}
    if stack is not None:
        indexed = f"{stack.name}[{number}]"
        names = {name.replace(stack.name, indexed, 1) for name in names}
    rows = [by_name[name] for name in names if name in by_name]
    observed = forward[place.call.name][index]
    values = _activation(place.call, observed, backward, index)
    for measure in ("never_active", "always_active", "update_to_weight"):
        values[measure] = _mean(rows, measure)
    block, ratio = place.block, math.nan
    if block is not None:
        merge: Any = block.merge
        merged = dict(zip(FORWARD, forward[merge.name][index], strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(merged["branch"] / merged["shortcut"])
    return BlockRow(
        name=place.names[number],
        **values,
        branch_to_shortcut=ratio,
        branch_depth=block.branch_depth if block else None,
        changes_shape=bool(block and block.changes_shape),
        weights=tuple(block.weights) if block else (),
        asked={**asked(place.call.name, index), **_sums(rows)},
    )


def _sums(rows: Sequence[LayerRow]) -> dict[str, float]:
    """Sums of the costs of layers, those that were asked for."""
    names = [name for name in COSTS if all(name in row.asked for row in rows)]
    return {name: sum(row.asked[name] for row in rows) for name in names if rows}


def _calls(place: BlockPlace) -> Sequence[graph.Call]:
    """Lists the calls of a block."""
    if place.block is None:
        return place.graph.calls
    return [*place.block.calls, place.call]


def _mean(rows: Sequence[LayerRow], measure: str) -> float:
    values = [getattr(row, measure) for row in rows]
    values = [value for value in values if not math.isnan(value)]
    return float(np.mean(values)) if values else math.nan
