"""Sizes of kernels that keep signals as large as the input, in closed form."""

import math
from collections.abc import Iterator
from typing import Any

import keras

from fixinit.conversion import kernels, kinds
from fixinit.conversion.assumptions import some
from fixinit.conversion.edits import place_of
from fixinit.conversion.noise import stream_noise
from fixinit.conversion.sensitivity import sensitivity
from fixinit.conversion.settling import Settling
from fixinit.conversion.single_draws import make_up
from fixinit.conversion.sites import smallest_start
from fixinit.conversion.stream_sizes import stream_sizes
from fixinit.conversion.sums import find_terms
from fixinit.graph import Hook, is_activation
from fixinit.theory import Moments, NoRuleError, calculus, propagate
from fixinit.theory.propagation import Assumption

_PASSES = 8
# Of a variance. At 100 blocks it makes a factor e.
_TOLERANCE = 0.01
_LOOK = "Look at the converted model with fixinit.diagnostics.diagnose."


def balance(model: keras.Model, plan: Any, rewriter: Any) -> list[str]:
    """Rescales kernels of a converted model, and the initializers that draw them.

    Sizes are those of the training mode, in which dropout makes signals larger.

    Outside of branches, so that mean squares are 1 behind activations and pooling, and
    behind projections, as normalization has it in these places. Unless the scheme
    starts branches at zero, so that they give the mean square of what they are added
    to, times what the scheme intends. Where a block that changes the shape ends in an
    activation, branch and shortcut make up for what that takes.

    Where that leads to more than a closed form, `single_draws` has the draws of these
    kernels made up for.

    Args:
        model: The converted model, built.
        plan: `Plan`.
        rewriter: The `Rewriter` that has made the model.

    Returns:
        List of strings, what was assumed or could not be done.
    """
    if not plan.draws:
        return []
    said = []
    assume = assumption(plan, rewriter)
    try:
        # Gates and most activations do more or less to larger signals, so that what is
        # in front of them is right when what they give is.
        settling: dict[Any, Settling] = {}
        for index in range(_PASSES):
            sizes = _Sizes(plan, rewriter, settling, is_first=index == 0)
            assumed = propagate(
                model, sizes, assume=assume, training=True, input_shape=plan.input_shape
            )
            if not sizes.apply():
                break
        else:
            said.append(
                f"Sizes of kernels that keep signals did not settle in {_PASSES} "
                f"passes. {_LOOK}"
            )
    except NoRuleError as error:
        return [_unpredictable(error)]
    said += _assumed(assumed)
    said += stream_noise(model, plan, assume)
    said += stream_sizes(model, plan, rewriter, assume)
    stems = [k.layer for k in plan.kernels if k.weight.role == "stem"]
    response = sensitivity(model, stems, assume, plan.input_shape)
    said += response.said()
    said += make_up(model, plan, rewriter, response)
    return said


def assumption(plan: Any, rewriter: Any) -> Assumption:
    """What calls without a rule give: what was measured, or what kernels sum up."""
    squares = {id(rewriter.made[old]): square for old, square in plan.measured.items()}
    return lambda operation, square: squares.get(
        id(operation), kernels.assumed_square(operation, square)
    )


def foreseen(model: keras.Model, input_shape: Any = None) -> list[str]:
    """What `balance` will say of calls whose variances are not known.

    Args:
        model: The model before it is converted. The calls that have no rule in it stay
            in the converted model.
        input_shape: As in `fixinit.theory.propagate`.
    """
    assume = kernels.assumed_square
    try:
        return _assumed(
            propagate(model, Hook(), assume=assume, input_shape=input_shape)
        )
    except NoRuleError as error:
        return [_unpredictable(error)]


def _unpredictable(error: NoRuleError) -> str:
    return (
        "Kernels have He's variances, by the terms that an output sums up and the "
        "activation behind it, for the sizes of signals cannot be predicted: "
        f"{error} {_LOOK}"
    )


def _assumed(calls: list[str]) -> list[str]:
    if not calls:
        return []
    return [
        "No variance rule for some calls. Weight layers are taken to sum up "
        f"independent numbers, all else to keep what it reads: {some(calls)}."
    ]


class _Sizes(Hook):
    """Follows a converted model and finds the factors of its kernels' variances."""

    def __init__(
        self, plan: Any, rewriter: Any, settling: dict[Any, Settling], is_first: bool
    ) -> None:
        self.plan, self.rewriter = plan, rewriter
        self.settling, self.is_first = settling, is_first
        self.factors: dict[int, float] = {}
        self._inexact = False  # whether something was put right from behind
        self._read: dict[Any, list[float]] = {}  # mean squares of what calls read
        self._gains: dict[Any, float] = {}  # what was multiplied behind calls
        # By places of the new model. Of several calls of a layer the first one counts.
        self._kernels = {
            rewriter.own_place(kernel.weight.call): kernel for kernel in plan.kernels
        }
        self._terms = find_terms(plan.survey)
        self._segments = {}
        for kernel in plan.kernels:
            if kernel.weight.role in ("stem", "trunk"):
                end, *wanted = self._segment_end(kernel.weight.call)
                self._segments[end] = (kernel, *wanted)
            elif kernel.weight.is_output and kernel.intended and is_first:
                share = 1 / self._terms.get(kernel.weight.call.outputs[0], 1)
                self.factors[id(kernel.layer)] = share
        self._ends = {}
        for branch in plan.survey.branches:
            if branch.holds_branches or not plan.start(branch).is_zero:
                self._ends[self._end(branch)] = branch

    def apply(self) -> bool:
        """Rescales the kernels; returns whether it may not have been enough."""
        again = self._inexact
        for kernel in self.plan.kernels:
            factor = self.factors.get(id(kernel.layer), 1.0)
            if 0 < factor < math.inf:
                kernels.rescale(kernel.layer, factor)
                # Its other calls have not seen this yet.
                shared = self.plan.times_called[id(kernel.weight.call.operation)] > 1
                again = again or (shared and abs(math.log(factor)) > _TOLERANCE)
        return again

    def _segment_end(self, call: Any) -> tuple[Any, float, bool]:
        """The end of what stands behind a weight layer: its activation and pooling.

        Returns:
            `(place, wanted, exact)`: the place in the new model, the mean square that
            it is to have, and whether it gives twice as much where the weight layer
            does.
        """
        wanted, exact = 1.0, True
        is_table = not kinds.reads_signals(call.operation)
        if kinds.is_fused(call):
            held = self._activation(call)
            wanted = kernels.wanted_behind(held)
            exact = kernels.is_homogeneous(held)
        # What saturates gives what it can, whatever pools it.
        while wanted == 1:
            readers = self.plan.survey.consumers.get(call.outputs[0], [])
            if len(readers) != 1:
                break
            operation = readers[0].operation
            removed = self.plan.removed(operation)
            goes_on = removed or kinds.passes(operation) or is_activation(readers[0])
            # Tables are read as large as the factor behind makes them.
            goes_on = goes_on or (is_table and kinds.is_factor(readers[0]))
            if not goes_on:
                break
            call = readers[0]
            if is_activation(call):
                activation = self._activation(call)
                wanted = kernels.wanted_behind(activation)
                exact = exact and kernels.is_homogeneous(activation)
        wanted /= self._terms.get(call.outputs[0], 1)
        while self.plan.removed(call.operation):
            call = self.plan.survey.producers[call.inputs[0]]
        return self.rewriter.end_place(call), wanted, exact

    def _activation(self, call: Any) -> Any:
        """The activation in the new model where a call activates, or holds one."""
        return self.plan.edits.activation_at(call)

    def _end(self, branch: Any) -> Any:
        """The place of what gives a branch, before what the scheme adds."""
        value = branch.value
        while True:
            call = self.plan.survey.producers[value]
            if not self.plan.removed(call.operation):
                return self.rewriter.end_place(call)
            value = call.inputs[0]

    def enter(self, call: Any, inputs: Any, control: Any) -> Any:
        kernel = self._kernels.get(place_of(call))
        if kernel is not None and kernel.weight.role == "stem":
            # Data is standardized, whatever the layers in front of the stem make of it.
            inputs = [
                Moments.inputs(inputs[0].shape + (inputs[0].total_channels,), 0, 1)
            ]
        self._read[place_of(call)] = [x.mean_square for x in inputs]
        return inputs

    def leave(self, call: Any, outputs: Any, control: Any) -> Any:
        place = place_of(call)
        if place not in self._gains:
            self._gains[place] = 1.0
            for target, scaled, exact in self._targets(place):
                self._scale(place, outputs[0].mean_square, target, scaled, exact)
        # A model that is called again has what its first call gave it.
        gain = self._gains[place]
        if gain == 1:
            return outputs
        return [calculus.scale(y, math.sqrt(gain)) for y in outputs]

    def _targets(self, place: Any) -> Iterator[tuple[float, list[Any], bool]]:
        """Yields `(mean square, kernels, exact)`: what a place is to have, and from."""
        kernel: Any = self._kernels.get(place)
        role = None if kernel is None else kernel.weight.role
        is_guess = role in ("stem", "trunk") and place not in self._segments
        if is_guess and self.is_first:
            # A guess, for what follows to be of about the right size.
            held = getattr(kernel.layer, "activation", None)
            exact = held in (None, keras.activations.linear)
            exact = exact or kernels.is_homogeneous(kernel.layer)
            yield self._target(kernel), [kernel], exact
        if role == "projection":
            yield self._end_gain(kernel.weight.branch), [kernel], True
        if place in self._segments:
            kernel, wanted, exact = self._segments[place]
            yield wanted, [kernel], exact
        branch = self._ends.get(place)
        if branch is not None:
            last = [
                kernel
                for kernel in self.plan.kernels
                if kernel.weight.call in branch.last - branch.feeds
            ]
            if last:
                wanted = self._start(branch) * self._end_gain(branch)
                gated = self.plan.survey.gates & set(branch.path)
                exact = self.plan.closed[branch] and not gated
                yield wanted * self._share(branch, last[0]), last, exact

    def _share(self, branch: Any, last: Any) -> float:
        """What a branch is to give of the mean square of its block's input."""
        if self.plan.starts_by_kernels(branch):
            return smallest_start(branch, self.plan.num_branches) ** 2
        return last.intended / len(branch.block.branches)

    def _scale(
        self, place: Any, mean_square: float, target: float, scaled: Any, exact: bool
    ) -> None:
        """Other kernels for a place to have its target.

        `exact` is whether what is between them and the place is homogeneous.
        """
        now = mean_square * self._gains[place]
        scaled = [kernel for kernel in scaled if not kernel.is_fixed]
        if not (scaled and 0 < now < math.inf):
            return
        gain = factor = target / now
        if not exact:
            factor = self.settling.setdefault(place, Settling()).factor(now, target)
            self._inexact = self._inexact or abs(math.log(gain)) > _TOLERANCE
        for kernel in scaled:
            known = self.factors.get(id(kernel.layer), 1.0)
            self.factors[id(kernel.layer)] = known * factor
        self._gains[place] *= gain

    def _target(self, kernel: Any) -> float:
        """The mean square in front of an activation for which it is 1 behind."""
        held = getattr(kernel.layer, "activation", None)
        behind = kernel.weight.activation
        if behind is None or held not in (None, keras.activations.linear):
            return 1.0
        return kernels.gain_behind(self._activation(behind))

    def _end_gain(self, branch: Any) -> float:
        """What makes up for the activation at the end of a block without identity."""
        block, producers = branch.block, self.plan.survey.producers
        if block.output == block.merge.outputs[0] or not block.changes_shape:
            return 1.0
        return kernels.gain_behind(self._activation(producers[block.output]))

    def _start(self, branch: Any) -> float:
        """The mean square that a branch is to give: that of what the block adds to."""
        if self._projected(branch.block):
            return 1.0
        first = self.plan.root.blocks.first_reads(branch.starts, branch.path)
        read = [self._square(call, index) for call, index in first]
        return self._before_activation(branch, max(read, default=0.0) or 1.0)

    def _square(self, call: Any, index: int = 0, default: float = 0.0) -> float:
        """The mean square that a call reads as one of its inputs."""
        squares = self._read.get(self.rewriter.own_place(call), [])
        return squares[index] if index < len(squares) else default

    def _projected(self, block: Any) -> bool:
        path = set(block.paths[block.shortcut])
        return any(
            kernel.weight.role == "projection" and kernel.weight.call in path
            for kernel in self.plan.kernels
        )

    def _before_activation(self, branch: Any, mean_square: float) -> float:
        """What stood in front of the activation that branch and shortcut share."""
        start = self.plan.survey.producers[branch.block.input]
        if branch.preactivation and is_activation(start):
            return self._square(start, default=mean_square)
        return mean_square
