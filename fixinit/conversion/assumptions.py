"""What a conversion assumes, leaves alone or cannot know, with the names of layers."""

import keras

from fixinit import _keras
from fixinit.conversion import kinds
from fixinit.graph.blocks import is_addition
from fixinit.layers import facts_of


def assumptions(plan):
    """Yields a text for everything that the user of a plan should know."""
    for check in (_branches, _unknown, _starts, _weights, _normalization):
        yield from check(plan)


def _branches(plan):
    if not plan.closed:
        yield (
            "The model has no residual branches. The scheme says how layers outside of "
            "branches start, and nothing keeps signals through depth but that."
        )
    survey = plan.survey
    if survey.unclear:
        yield (
            "Additions that are no residual blocks to the converter: "
            f"{some(survey.unclear)}. The shortcut of one has fewer weight layers than "
            "the rest, and the same shape, and all that goes in comes from one place; "
            "a condition that is added does not. They stay, and what they add up "
            "counts as layers outside of branches."
        )
    joins = list(_joins(survey))
    if joins:
        yield (
            "What joins a value with what was made of it, and is no addition, is no "
            f"residual block to the converter, and stays: {some(joins)}."
        )
    factors = list(_factors(survey))
    if factors:
        yield (
            "Factors in front of additions or behind them are part of the network and "
            f"stay: {some(factors)}. They scale what the scheme adds up. Take them out "
            "of the model if the scheme is to scale its branches alone."
        )


def _joins(survey):
    """The names of averages and the like of a value and what weights made of it."""
    ancestors, weights = survey.graph.ancestors(), 0
    for call in survey.graph.calls:
        if call.has_weights:
            weights |= 1 << call.outputs[0]
        if facts_of(call.operation).joins and len(call.inputs) == 2:
            first, second = call.inputs
            for value, other in ((first, second), (second, first)):
                if ancestors[other] >> value & 1:
                    if ancestors[other] & ~ancestors[value] & weights:
                        yield call.name


def _factors(survey):
    """The names of the factors beside residual additions."""
    merges = {block.merge for block in survey.blocks}
    for call in survey.graph.calls:
        if kinds.is_factor(call):
            readers = survey.consumers.get(call.outputs[0], [])
            if {survey.producers[call.inputs[0]], *readers} & merges:
                yield call.name


def _unknown(plan):
    tables = [c.name for c in plan.left if kinds.is_frozen_embedding(c.operation)]
    left = [c.name for c in plan.left if not plan.keep(c.operation)]
    left = [name for name in left if name not in tables]
    if left:
        yield (
            "Layers with weights of a kind that the converter does not know stay as "
            "they are, with their own initializers or, if they are frozen, their "
            f"weights: {some(left)}."
        )
    if tables:
        yield f"Frozen embeddings keep their weights: {some(tables)}."
    unknown = [
        call.name
        for call, _ in plan.graph.walk()
        if kinds.is_unknown(call.operation)
        and not call.has_weights
        and not plan.keep(call.operation)
        and not plan.removed(call.operation)
    ]
    if unknown:
        yield (
            "Layers that the converter does not know stay as they are, also if they "
            f"normalize: {some(unknown)}."
        )
    twice = list(_called_inside(plan))
    if twice:
        yield (
            "Layers that hold others, which the model also calls by themselves: "
            f"{some(twice)}. They hold copies of those, and share their weights no "
            "longer."
        )


def _called_inside(plan):
    """The names of layers that hold what the model calls elsewhere too."""
    for call, _ in plan.graph.walk():
        layer = call.operation
        if isinstance(layer, keras.layers.Layer) and call.body is None:
            inside = _keras.flatten_layers(layer, include_self=False)
            if any(id(x) in plan.times_called for x in inside):
                yield call.name


def _starts(plan):
    stuck = [
        branch.block.name
        for branch, closed in plan.closed.items()
        if plan.zeroes(branch) and not closed and not branch.holds_branches
    ]
    if stuck:
        yield (
            "Branches that zeros in their last weight layer would not close, or not "
            f"open again, start at zero by a multiplier: {some(stuck)}."
        )
    outer = [branch.block.name for branch in plan.closed if branch.holds_branches]
    if outer and any(plan.start(branch).is_zero for branch in plan.closed):
        yield (
            "Branches that hold other branches start small and not at zero, for zeros "
            f"in zeros might never open: {some(outer)}."
        )
    scales = [c.name for c, _ in plan.graph.walk() if _is_scale(plan, c.operation)]
    if scales:
        yield f"Scales of branches, which the scheme takes over: {some(scales)}."


def _is_scale(plan, operation):
    return facts_of(operation).scales_branch and not plan.keep(operation)


def _weights(plan):
    drawn = [kernel.layer for kernel in plan.kernels] + plan.redrawn
    frozen = [layer.name for layer in drawn if not layer.trainable]
    if frozen:
        yield (
            "Frozen layers are drawn anew, and stay frozen, and so are multipliers in "
            f"frozen models: {some(frozen)}."
        )


def _normalization(plan):
    taken = [
        call
        for call in plan.graph.calls
        if plan.removed(call.operation) and kinds.is_normalization(call.operation)
    ]
    starts = [call.name for call in taken if _reads_data(plan, call)]
    if starts:
        yield (
            "Normalization of the model's inputs is taken out, and the network starts "
            f"for standardized data: {some(starts)}. Standardize the data, or pass "
            f"keep={starts}."
        )
    outputs = set(plan.graph.outputs)
    ends = [call.name for call in taken if outputs & set(call.outputs)]
    if ends:
        yield (
            "Normalization of the model's outputs is taken out like any other: "
            f"{some(ends)}. Pass keep={ends} if it is meant."
        )
    measures = [
        call.name for call, _ in plan.graph.walk() if facts_of(call.operation).measures
    ]
    if measures:
        yield (
            "Operations that measure how far values spread stay, also if they "
            f"normalize: {some(measures)}."
        )


def _reads_data(plan, call):
    """Whether a call reads the inputs by a way without weights that nothing else goes.

    Elsewhere, as at the start of a pre-activation network without a stem, it is one
    of the network's own.
    """
    survey, pending = plan.survey, list(call.inputs)
    while pending:
        value = pending.pop()
        before = survey.producers[value]
        if len(survey.consumers[value]) > 1 or before.has_weights:
            return False
        if is_addition(before) or plan.removed(before.operation):
            return False
        pending += before.inputs
    return True


def some(names, most=4):
    """A few of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
