"""Noise on the stream and in front of it, which normalization used to make up for."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit.conversion.assumptions import some
from fixinit.conversion.kinds import reads_signals
from fixinit.graph import Call, Hook, trace
from fixinit.theory import propagate
from fixinit.theory.propagation import Assumption

# Of mean squares in training over those in test mode: less does no harm.
_MOST = 3.0
_TOLERANCE = 1.01
_BETWEEN = "Put dropout inside of branches, in front of the additions."
_BEFORE = "Lower its rate."


def stream_noise(model: keras.Model, plan: Any, assume: Assumption) -> list[str]:
    """What dropout between residual blocks or on the data does to signals, if much.

    In training it makes them larger, block by block. No kernel stands behind it that
    could make up for that in both modes; and those that read data are drawn for
    standardized data, whatever is in front of them.

    Args:
        model: The converted model.
        plan: `Plan`.
        assume: As in `fixinit.theory.propagate`.

    Returns:
        List of strings, one for each of the two places.
    """
    between, before = _between_blocks(plan.survey), _before_stems(plan)
    names = between + before
    if not names or not any(_has_modes(c.operation) for c in trace(model).calls):
        return []
    training, test = _Factors(), _Factors()
    for hook, mode in ((training, True), (test, False)):
        shape = plan.input_shape
        propagate(model, hook, assume=assume, training=mode, input_shape=shape)
    said = []
    for names, where, remedy in (
        (between, "between residual blocks", _BETWEEN),
        (before, "in front of the first weights", _BEFORE),
    ):
        growth, makers = 1.0, []
        for name in names:
            factor = training.found.get(name, 1.0) / test.found.get(name, 1.0)
            if factor > _TOLERANCE:
                growth *= factor
                makers.append(name)
        if growth >= _MOST:
            said.append(
                f"Noise {where} makes signals {growth:.3g} times as large in training, "
                f"in mean squares, as in test mode: {some(makers)}. Normalization made "
                f"up for that. {remedy}"
            )
    return said


def _between_blocks(survey: Any) -> list[str]:
    """Names of layers that read what blocks give and are read by other blocks."""
    ends = sum(1 << value for value in {block.output for block in survey.blocks})
    ancestors = survey.graph.ancestors()
    starts = 0
    for block in survey.blocks:
        starts |= ancestors[block.input]
    return [
        call.operation.name
        for call in survey.graph.calls
        if len(call.inputs) == 1
        and call not in survey.places
        and ancestors[call.inputs[0]] & ends
        and starts >> call.outputs[0] & 1
    ]


def _before_stems(plan: Any) -> list[str]:
    """Names of layers that what stems read comes from, one after the other."""
    ancestors, read = plan.survey.graph.ancestors(), 0
    for kernel in plan.kernels:
        if kernel.weight.role == "stem" and reads_signals(kernel.weight.call.operation):
            read |= ancestors[kernel.weight.call.inputs[0]]
    return [
        call.operation.name
        for call in plan.survey.graph.calls
        if len(call.inputs) == 1 and read >> call.outputs[0] & 1
    ]


def _has_modes(operation: Any) -> bool:
    """Whether a layer is told whether it trains, as one that draws noise has to be."""
    return "training" in getattr(operation, "call_signature_parameters", ())


class _Factors(Hook):
    """Records what calls of one input make of mean squares, by names of layers."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}
        self._read = 0.0

    def enter(self, call: Call, inputs: list[Any], control: Any) -> Sequence[Any]:
        self._read = inputs[0].mean_square if inputs else 0.0
        return inputs

    def leave(self, call: Call, outputs: list[Any], control: Any) -> Sequence[Any]:
        if self._read > 0 and outputs[0].mean_square > 0:
            self.found[call.operation.name] = outputs[0].mean_square / self._read
        return outputs
