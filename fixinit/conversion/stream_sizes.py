"""Finds streams that start at another size than the converter gives them."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit.conversion.assumptions import some
from fixinit.conversion.edits import place_of
from fixinit.graph import Call, Hook
from fixinit.theory import Moments, propagate
from fixinit.theory.propagation import Assumption

# Of a mean square that is to be 1.
_FAR = 10.0


class _Starts(Hook):
    """Observes mean squares at some places, where stems read standardized data."""

    def __init__(self, places: dict[Any, str], stems: set[Any]) -> None:
        self.places, self.stems = places, stems
        self.squares: dict[str, float] = {}

    def enter(self, call: Call, inputs: list[Any], control: Any) -> Sequence[Any]:
        if place_of(call) in self.stems:
            first, *rest = inputs
            shape = first.shape + (first.total_channels,)
            return [Moments.inputs(shape, 0, 1), *rest]
        return inputs

    def leave(self, call: Call, outputs: list[Any], control: Any) -> Sequence[Any]:
        name = self.places.get(place_of(call))
        if name is not None:
            self.squares[name] = outputs[0].mean_square
        return outputs


def stream_sizes(
    model: keras.Model, plan: Any, rewriter: Any, assume: Assumption
) -> list[str]:
    """What is said of streams that start far from a mean square of 1.

    Such a stream is made by no layer that the scheme draws: by learned queries, or by a
    sum of many terms; or by one whose size is not the converter's, as inside of a
    constraint. Normalization made up for its size.

    Args:
        model: The converted model.
        plan: `Plan`.
        rewriter: The `Rewriter` that has made the model.
        assume: What calls without a variance rule give.
    """
    producers, blocks = plan.survey.producers, plan.survey.blocks
    ends = {block.output for block in blocks} | {b.merge.outputs[0] for b in blocks}
    roots = {}
    for block in blocks:
        root = producers[block.input]
        while plan.removed(root.operation):
            root = producers[root.inputs[0]]
        if root.outputs[0] not in ends and not root.is_input:
            roots[rewriter.end_place(root)] = root.name
    stems = {
        rewriter.own_place(kernel.weight.call)
        for kernel in plan.kernels
        if kernel.weight.role == "stem"
    }
    starts = _Starts(roots, stems)
    shape = plan.input_shape
    propagate(model, starts, assume=assume, training=True, input_shape=shape)
    drawn = {kernel.weight.call.name for kernel in plan.kernels}
    far: dict[bool, list[str]] = {True: [], False: []}
    for name, square in starts.squares.items():
        if not 1 / _FAR <= square <= _FAR:
            far[name in drawn].append(f"{name} ({square:.2g})")
    said = []
    if far[False]:
        said.append(
            "The streams of residual blocks start at mean squares far from 1, where "
            f"the scheme draws nothing: {some(far[False])}. Normalization made up for "
            "that. Scale what makes them, or keep the normalization."
        )
    if far[True]:
        said.append(
            "The streams of residual blocks start at mean squares far from 1 behind "
            f"kernels that the scheme draws: {some(far[True])}. Constraints, large "
            "bias vectors, and the sums and activations behind them have a say in "
            "their size. Normalization made up for that. Scale what they give, or keep "
            "the normalization."
        )
    return said
