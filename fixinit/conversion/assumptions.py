"""Texts about what a conversion assumes and leaves alone, with names of layers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fixinit.conversion import findings, given, kinds
from fixinit.graph import equal_draws
from fixinit.graph.copies import is_described
from fixinit.graph.functional import is_own
from fixinit.graph.kinds import is_unknown
from fixinit.graph.lambdas import is_lambda
from fixinit.layers import facts_of


def assumptions(plan: Any) -> Iterator[str]:
    """Yields a text for everything that the user of a plan should know."""
    checks = (
        *(_branches, _unknown, _activations, _starts, _heads),
        *(_given, _equal_draws, _frozen, _normalization, _lambdas),
    )
    for check in checks:
        yield from check(plan)


def _branches(plan: Any) -> Iterator[str]:
    if not plan.closed and plan.draws:
        yield (
            "The model has no residual branches. Of the scheme it has how layers "
            "outside of branches start and activate, and nothing but that keeps "
            "signals through depth."
        )
    if unclear := findings.unclear_additions(plan.survey):
        yield (
            f"Additions that are no residual blocks to the converter: {some(unclear)}. "
            "In a residual block, the shortcut has fewer weight layers than the "
            "branches and their shape, and all inputs depend on the block's input; a "
            "condition that is added does not. These additions stay, and the layers in "
            "front of them count as layers outside of branches, which have their share "
            "of the sum."
        )
    if joins := findings.joins(plan.survey):
        yield (
            "What combines a value with what weights made of it, and is no addition, "
            f"is no residual block to the converter, and stays: {some(joins)}."
        )
    if factors := findings.factors(plan.survey):
        yield (
            "Factors in front of additions or behind them are part of the network and "
            f"stay: {some(factors)}. They scale what the scheme adds. Take them out of "
            "the model if only the scheme is to scale its branches."
        )


def _unknown(plan: Any) -> Iterator[str]:
    tables = [c.name for c in plan.left if kinds.is_frozen_embedding(c.operation)]
    left = [c for c in plan.left if not plan.keep(c.operation)]
    # With their own initializers, all layers stay where the scheme draws none.
    left = [c.name for c in left if plan.draws or not c.operation.trainable]
    left = [name for name in left if name not in tables]
    if left:
        yield (
            "Layers with weights of a kind that the converter does not know stay as "
            "they are, with their own initializers or, if they are frozen, their "
            f"weights: {some(left)}. Their facts make them known: see "
            "`help(fixinit.layers.Facts)`."
        )
    if plan.sized:
        names = some([call.name for call in plan.sized])
        yield (
            "The sizes of signals behind layers that the converter does not know are "
            f"measured on random inputs, and a factor makes them 1: {names}. What "
            "training data makes of them may be another size."
        )
    copied = [call.name for call in plan.left if not is_described(call.operation)]
    if copied:
        yield (
            "Layers that their configs do not describe are copied with the weights "
            f"that they have: {some(copied)}. A `get_config` with all arguments of "
            "their constructors makes new ones."
        )
    if tables:
        yield f"Frozen embeddings keep their weights: {some(tables)}."

    def stays(call: Any) -> bool:
        kept = plan.keep(call.operation) or plan.removed(call.operation)
        known = not is_unknown(call.operation) or is_lambda(call.operation)
        return not (known or kept or call.has_weights)

    if unknown := _names(plan, stays):
        yield (
            "Layers that the converter does not know stay as they are, also if they "
            f"normalize: {some(unknown)}. Their facts make them known: see "
            "`help(fixinit.layers.Facts)`."
        )
    if twice := list(findings.called_inside(plan)):
        yield (
            f"Layers that hold layers which the model also calls: {some(twice)}. They "
            "hold copies of those, and share their weights no longer."
        )


def _activations(plan: Any) -> Iterator[str]:
    if plan.left_out:
        names = some([call.name for call in plan.left_out])
        yield (
            "Weight layers without what the scheme puts in front of them, for it "
            "changes the number of channels, of which each or each group has a kernel "
            f"of its own: {names}."
        )
    if plan.plain_activations:
        names = some([call.name for call in plan.plain_activations])
        yield (
            "Activations that stay, though the scheme has layers in the place of "
            f"activations: no Keras activation computes the same as {names}."
        )


def _starts(plan: Any) -> Iterator[str]:
    stuck = [
        branch.block.name
        for branch, closed in plan.closed.items()
        if plan.zeroes(branch) and not closed
        if not (branch.holds_branches or branch.is_shut)
    ]
    if stuck:
        yield (
            "Branches that a zero last weight layer would not close, or that training "
            f"could not open again, start at zero by a multiplier: {some(stuck)}."
        )
    shut = [branch.block.name for branch in plan.closed if branch.is_shut]
    if shut:
        yield (
            "Branches that a factor of the model's own starts at zero, which stays: "
            f"{some(shut)}. The scheme does not close them, for training may never "
            "leave zeros times zeros."
        )
    if taking := [branch.block.name for branch in plan.taking_away]:
        yield (
            "Branches without weights that take away what the shortcut carries start "
            f"small, and a factor makes up for it: {some(taking)}."
        )
    outer = [branch.block.name for branch in plan.closed if branch.holds_branches]
    if outer and any(plan.start(branch).is_zero for branch in plan.closed):
        yield (
            "Branches that hold other branches start small and not at zero, for "
            f"training may never leave zeros in zeros: {some(outer)}."
        )

    def is_scale(call: Any) -> bool:
        scales = facts_of(call.operation).scales_branch
        scales = scales or plan.is_own_scale(call.operation)
        return scales and not plan.keep(call.operation)

    if scales := _names(plan, is_scale):
        yield f"Scales of branches, which the scheme takes over: {some(scales)}."


def _heads(plan: Any) -> Iterator[str]:
    """Heads at zero where nothing says that the loss takes single outputs."""
    drawn = [call.name for call in plan.drawn_heads]
    if drawn:
        yield (
            "Heads that would start at zero and read zeros, as of a class token that "
            "starts at zero while branches do, are drawn, for training would move "
            f"nothing but their bias vectors: {some(drawn)}."
        )
    names = [name for name in findings.bare_heads(plan) if name not in drawn]
    if plan.zeroes_heads and names:
        yield (
            f"The scheme starts the head at zero: {some(names)}. Losses that compare "
            "outputs with each other (contrastive, triplet) or differentiate them "
            "(gradient penalty) have no gradient there, or none that is finite. For "
            f"these, pass keep={names}, or a scheme that draws the head, which may be "
            "an option of this one. Other losses train."
        )


def _given(plan: Any) -> Iterator[str]:
    """What weight layers were given on purpose."""
    drawn = {
        kernel.weight.call.name: kernel.weight.call.operation
        for kernel in plan.kernels
        if not kernel.weight.is_output
    }
    biased = [name for name, layer in drawn.items() if given.keeps_bias(layer)]
    if biased and not plan.scheme.use_bias:
        yield (
            "Bias vectors that start elsewhere than at zero stay, though the scheme "
            f"has none: {some(biased)}."
        )
    lost = [name for name, layer in drawn.items() if given.loses_regularizer(layer)]
    lost = [name for name in lost if name not in biased]
    if lost and not plan.scheme.use_bias:
        yield (
            "Bias vectors are taken out, and with them their regularizers and "
            f"constraints: {some(lost)}."
        )
    kept_zeros = [c.name for c in plan.kept_zeros if c not in plan.drawn_heads]
    if kept_zeros:
        yield (
            "Kernels that are zero on purpose, and not at the end of a branch, stay at "
            f"zero: {some(kept_zeros)}."
        )
    bound = [
        kernel.weight.call.name
        for kernel in plan.kernels
        if given.kernel_constraint(kernel.weight.call.operation)
    ]
    if bound:
        yield (
            "Constraints stay, and kernels start inside of them, whatever size the "
            f"scheme has for them: {some(bound)}."
        )


def _equal_draws(plan: Any) -> Iterator[str]:
    for group in equal_draws(plan.graph):
        yield (
            "Layers that were given one initializer, or equal seeds, hold equal "
            f"kernels in the model: {some(group.names)}. In the converted one, each "
            "that is drawn anew has a draw of its own."
        )


def _frozen(plan: Any) -> Iterator[str]:
    drawn = [kernel.layer for kernel in plan.kernels] + plan.redrawn
    frozen = [layer.name for layer in drawn if not layer.trainable]
    if frozen:
        yield (
            "Frozen layers are drawn anew, and stay frozen, and so are multipliers in "
            f"frozen models: {some(frozen)}."
        )


def _normalization(plan: Any) -> Iterator[str]:
    taken = [
        call
        for call in plan.graph.calls
        if plan.removed(call.operation) and kinds.is_normalization(call.operation)
    ]
    yield from _replaced(taken) if plan.replaces else _taken_out(plan, taken)
    if measures := _names(plan, lambda call: facts_of(call.operation).measures):
        yield (
            "Operations that measure how far values spread stay, also if they "
            f"normalize: {some(measures)}."
        )


def _replaced(taken: Sequence[Any]) -> Iterator[str]:
    """Normalization that the scheme has something in the place of."""
    own = [c.operation.name for c in taken if is_own(kinds.unwrapped(c.operation))]
    if own:
        yield (
            "Normalization of the author's own is replaced as layer normalization of "
            "the last axis, with a scale, and with a shift if it takes a mean away: "
            f"{some(own)}. Pass keep={own} if it is another."
        )


def _taken_out(plan: Any, taken: Sequence[Any]) -> Iterator[str]:
    """Normalization in whose place nothing stands."""
    starts = [call.name for call in taken if findings.reads_data(plan, call)]
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
            f"{some(ends)}. Pass keep={ends} if the outputs are to be normalized."
        )


def _lambdas(plan: Any) -> Iterator[str]:
    """Lambda layers, of which nothing but their functions tells what they do."""
    calls = [call for call, _ in plan.graph.walk() if is_lambda(call.operation)]
    taken = [call for call in calls if plan.removed(call.operation)]
    outputs = set(plan.graph.outputs)  # those there are named with the others
    inside = [call for call in taken if not outputs & set(call.outputs)]
    operations = [c.operation for c in inside if kinds.is_normalization(c.operation)]
    if names := list(dict.fromkeys(operation.name for operation in operations)):
        yield (
            "Lambda layers that normalize, by what they give for multiples of their "
            f"input, are taken out: {some(names)}. Pass keep={names} to leave them."
        )
    left = [call for call in calls if call not in taken]
    if names := [call.name for call in left if not plan.keep(call.operation)]:
        yield (
            "Lambda layers that are not opened stay as they are, also if they "
            f"normalize: {some(names)}. A saved model holds the code of their "
            "functions, which Keras loads with safe_mode=False, and without what they "
            "read by name, such as modules."
        )


def _names(plan: Any, condition: Callable[[Any], bool]) -> list[str]:
    """Names of the calls, those in stacks among them, that meet a condition."""
    return [call.name for call, _ in plan.graph.walk() if condition(call)]


def some(names: Sequence[str], most: int = 4) -> str:
    """A few of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
