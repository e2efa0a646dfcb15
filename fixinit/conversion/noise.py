"""Noise on the stream, which normalization used to make up for."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit.conversion.assumptions import some
from fixinit.graph import Call, Hook, trace
from fixinit.theory import propagate
from fixinit.theory.propagation import Assumption

# Of mean squares in training over those in test mode: less does no harm.
_MOST = 3.0
_TOLERANCE = 1.01


def stream_noise(model: keras.Model, plan: Any, assume: Assumption) -> list[str]:
    """What dropout between residual blocks does to signals, if that is much.

    In training it makes them larger, block by block. No kernel stands behind it that
    could make up for that in both modes.

    Args:
        model: The converted model.
        plan: `Plan`.
        assume: As in `fixinit.theory.propagate`.

    Returns:
        List of at most one string.
    """
    names = _between_blocks(plan.survey)
    if not names or not any(_has_modes(c.operation) for c in trace(model).calls):
        return []
    training, test = _Factors(), _Factors()
    for hook, mode in ((training, True), (test, False)):
        propagate(model, hook, assume=assume, training=mode)
    growth, noisy = 1.0, []
    for name in names:
        factor = training.found.get(name, 1.0) / test.found.get(name, 1.0)
        if factor > _TOLERANCE:
            growth *= factor
            noisy.append(name)
    if growth < _MOST:
        return []
    return [
        f"Noise between residual blocks makes signals {growth:.3g} times as large in "
        f"training, in mean squares, as in test mode: {some(noisy)}. Normalization "
        "made up for that. Put dropout inside of branches, in front of the additions."
    ]


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
