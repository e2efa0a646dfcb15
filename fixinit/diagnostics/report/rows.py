"""What was measured, as one row per layer and one per block."""

import math

import numpy as np

from fixinit.diagnostics.report.blocks import block_places
from fixinit.diagnostics.report.measure import FORWARD

_WEIGHTS = ("weight_mean_square", "weight_gradient_mean_square", "update_to_weight")


def layer_rows(model_graph, forward, backward, weights):
    """A dict for every call that puts out floating-point numbers, in order.

    Args:
        model_graph: `fixinit.graph.Graph`.
        forward: Dict from names of calls to what `Measure` gives.
        backward: The same for gradients.
        weights: What `weight_statistics` gives.
    """
    return list(_layer_rows(model_graph, forward, backward, weights, ()))


def _layer_rows(model_graph, forward, backward, weights, index):
    for call in model_graph.calls:
        if call.body is not None:
            for i in range(call.operation.depth):
                inner = (*index, i)
                rows = _layer_rows(call.body, forward, backward, weights, inner)
                for row in rows:
                    row["name"] = row["name"].replace(call.name, f"{call.name}[{i}]", 1)
                    yield row
        elif call.name in forward and not (index and call.is_input):
            held = weights.get(call.name, {})
            yield {
                "name": call.name,
                "kind": type(call.operation).__name__,
                **_activation(call, forward[call.name][index], backward, index),
                **{key: _at(held, key, index) for key in _WEIGHTS},
            }


def _at(values, key, index):
    return float(values[key][index]) if key in values else math.nan


def _activation(call, values, backward, index):
    values = dict(zip(FORWARD, values.tolist(), strict=True))
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


def _square(values):
    peak, mean_square = values.tolist()
    return _times(mean_square, peak**2)


def _times(value, scale):
    # Infinity over itself: it has overflowed.
    return math.inf if math.isinf(scale) else value * scale


def block_rows(model_graph, forward, backward, layers):
    """`(input, rows)`: a dict for what the first block reads, and for every block."""
    places = block_places(model_graph)
    if not places:
        return None, []
    by_name = {row["name"]: row for row in layers}
    rows = []
    for place in places:
        depth = place.stack.operation.depth if place.stack else 1
        for index in range(depth):
            at = (index,) if place.stack else ()
            rows.append(_block_row(place, index, at, forward, backward, by_name))
    return by_name[model_graph.producers()[places[0].start].name], rows


def weight_path(model_graph, layers):
    """The rows between which a network without residual blocks grows.

    They are those of the weight layers on the way through the graph that has the most
    of them, without the last, which is the head.
    """
    nothing = (0, None, None)
    ways = {}
    for call in model_graph.calls:
        way = max((ways[v] for v in call.inputs), key=lambda w: w[0], default=nothing)
        if call.has_weights:
            way = (way[0] + 1, call, way)
        ways.update(dict.fromkeys(call.outputs, way))
    _, call, way = max((ways[v] for v in model_graph.outputs), key=lambda w: w[0])
    calls = []
    while way is not None and way[1] is not None:
        _, call, way = way
        calls.insert(0, call)
    by_name = {row["name"]: row for row in layers}
    shapes = [model_graph.specs[call.outputs[0]].shape for call in calls]
    return [
        {
            **by_name[call.name],
            "changes_shape": index > 0 and shape != shapes[index - 1],
        }
        for index, (call, shape) in enumerate(zip(calls, shapes, strict=True))
        if call.name in by_name
    ]


def _block_row(place, number, index, forward, backward, by_name):
    stack = place.stack
    names = {call.name for call in _calls(place)}
    if stack is not None:
        indexed = f"{stack.name}[{number}]"
        names = {name.replace(stack.name, indexed, 1) for name in names}
    rows = [by_name[name] for name in names if name in by_name]
    values = _activation(place.call, _row(forward, place.call, index), backward, index)
    block, ratio = place.block, math.nan
    if block is not None:
        merged = dict(zip(FORWARD, _row(forward, block.merge, index), strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(merged["branch"] / merged["shortcut"])
    return {
        "name": place.names[number],
        **values,
        "branch_to_shortcut": ratio,
        "never_active": _mean(rows, "never_active"),
        "always_active": _mean(rows, "always_active"),
        "update_to_weight": _mean(rows, "update_to_weight"),
        "branch_depth": block.branch_depth if block else None,
        "changes_shape": bool(block and block.changes_shape),
        "weights": list(block.weights) if block else [],
    }


def _row(forward, call, index):
    return forward[call.name][index]


def _calls(place):
    """The calls of a block."""
    if place.block is None:
        return place.graph.calls
    return [*place.block.calls, place.call]


def _mean(rows, key):
    values = [row[key] for row in rows if not math.isnan(row[key])]
    return float(np.mean(values)) if values else math.nan
