"""Draws heads of zeros that read zeros, for training would never leave these."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from fixinit.conversion import batches, given, kernels
from fixinit.conversion.edits import place_of
from fixinit.conversion.stem_pass import StemPass
from fixinit.graph import Call, Graph, trace
from fixinit.schemes import Scheme, Site


def draw_heads(model: keras.Model, plan: Any, rewriter: Any, data: Any = None) -> bool:
    """Draws the heads whose kernels and inputs are zero at the start.

    The gradient of a kernel is a product with what it reads, and the gradient of that
    is a product with the kernel. Where both are zero, nothing but the head's bias
    trains. A head reads zeros where it reads a class token alone that starts at zero,
    and branches start at zero. One pass in test mode shows it. Such heads are drawn as
    schemes draw them by default, and `plan.drawn_heads` has their calls.

    Args:
        model: The converted model.
        plan: `Plan`.
        rewriter: The `Rewriter` that has made the model.
        data: Inputs of the model, or `None`, for models that do not run on random ones.

    Returns:
        bool, whether any has been drawn.
    """
    graph = trace(model)
    places = {rewriter.own_place(call): call for call in _heads_of_zeros(plan)}
    heads = {c: places[place_of(c)] for c in graph.calls if place_of(c) in places}
    if not heads:
        return False
    read: dict[int, float] = {}
    for call, most in _read(model, graph, plan, rewriter, set(heads), data).items():
        layer = id(heads[call].operation)
        read[layer] = max(read.get(layer, 0.0), most)
    drawn = {layer for layer, most in read.items() if most == 0}
    plan.drawn_heads = [c for c in heads.values() if id(c.operation) in drawn]
    site = Site(0, plan.num_branches, role="head")
    for layer in dict.fromkeys(id(call.operation) for call in plan.drawn_heads):
        new = rewriter.made[layer]
        initializer = plan.applicator.seeded(Scheme().draw(site))
        kernels.draw(new, given.inside_constraint(initializer, new))
    return bool(plan.drawn_heads)


def _heads_of_zeros(plan: Any) -> Iterator[Call]:
    """The calls of trainable heads that start at zero, by the scheme or on purpose."""
    for weight in plan.survey.weights:
        call = weight.call
        is_head = weight.role == "head" and plan.knows(call)
        if is_head and call.operation.trainable:
            if plan.zeroes_heads or call in plan.kept_zeros:
                yield call


def _read(
    model: keras.Model,
    graph: Graph,
    plan: Any,
    rewriter: Any,
    heads: set[Call],
    data: Any,
) -> dict[Call, float]:
    """The largest numbers that heads read, in absolute value.

    Empty if the model does not run, which `deviations` says.
    """
    found = batches.kernels_of(graph, plan, rewriter)
    roles = {call: kernel.weight.role for call, kernel in found.items()}
    tries = [(size, None) for size in batches.open_sizes(graph)]
    for size, batch in tries + [(None, data)] * (data is not None):
        reading = _Reading(model, graph, roles, heads)
        if reading.run(size, batch):
            return reading.largest
    return {}


class _Reading(StemPass):
    """Records the largest numbers that some calls read, in absolute value."""

    def __init__(
        self, model: keras.Model, graph: Graph, roles: dict[Call, str], calls: set[Call]
    ) -> None:
        super().__init__(model, graph, roles)
        self.calls = calls
        self.largest: dict[Call, float] = {}

    def enter(self, call: Call, inputs: list[Any], control: Any) -> list[Any]:
        inputs = super().enter(call, inputs, control)
        if call in self.calls:
            largest = ops.max(ops.abs(ops.cast(inputs[0], "float32")))
            self.largest[call] = float(ops.convert_to_numpy(largest))
        return inputs
