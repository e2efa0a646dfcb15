"""Applies a scheme to every layer that the survey of a graph has found."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import keras

from fixinit import layers
from fixinit.conversion import given, kinds, measured
from fixinit.conversion.block_plan import BlockPlan
from fixinit.conversion.drawing import drawn, redrawn, unwrapped
from fixinit.conversion.placing import Placing, surroundings_of
from fixinit.conversion.plain import plain_activation, plain_normalization
from fixinit.conversion.rewrite import Rewriter, cloned_stack
from fixinit.conversion.sites import Counter, Sites
from fixinit.conversion.survey import Survey
from fixinit.schemes import Site
from fixinit.schemes.apply import Layers
from fixinit.schemes.independence import check_independent, compared


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight layer that has been given an initializer.

    Attributes:
        weight: The `Weight` of the survey.
        layer: The new layer.
        intended: float, the variance that the scheme wants here over that of He
            initialization.
        is_fixed: bool. Whether its size is no matter of the converter: its constraint
            or its bias vector says how large its outputs are.
    """

    weight: Any
    layer: keras.layers.Layer
    intended: float
    is_fixed: bool = False


class GraphPlan:
    """What a conversion will do to one graph: a model's, or that of a stack's block.

    Args:
        plan: The `Plan` of the whole network.
        graph: `fixinit.graph.Graph`.
        counter: `Counter` of what is in front of the graph, which goes on.
        inside: bool. Whether the graph is that of a block in a stack.

    Attributes:
        survey: `Survey` of the graph.
        placing: `Placing`, whose edits carry the plan out.
        kernels: List of `Kernel`s, without those in stacks.
    """

    def __init__(
        self, plan: Any, graph: Any, counter: Counter, inside: bool = False
    ) -> None:
        self.plan, self.graph = plan, graph
        self.applicator, self.scheme = plan.applicator, plan.scheme
        self.placing, self.kernels = Placing(), []  # type: Placing, list[Kernel]
        self.survey = Survey(graph, plan.removed, plan.num_branches, inside=inside)
        if all(known.graph is not graph for known in plan.surveys):
            plan.surveys.append(self.survey)
        for branch in self.survey.branches:
            plan.closed[branch] = branch.closes(self.survey, plan.may_be_zero)
        self.sites = Sites(self.survey, counter, plan.num_blocks, self._is_starting)
        self._take_out()
        for weight in self.survey.weights:
            self._weight(weight)
        self._activations()
        self.blocks = BlockPlan(self)
        if not inside:
            self._end()

    @property
    def edits(self) -> Any:
        """The edits that carry the plan out."""
        return self.placing.edits

    def _is_starting(self, branch: Any) -> bool:
        return self.plan.closed[branch] or not self.plan.zeroes(branch)

    def _take_out(self) -> None:
        """Takes out normalization, and puts in what the scheme has for it."""
        for call in self.graph.calls:
            if self.plan.removed(call.operation):
                self.edits.layers[id(call.operation)] = None
            if self.plan.replaces and self.plan.normalizes(call):
                old = plain_normalization(call.operation)
                branch, weight = self.survey.owner(call)
                site = self.sites.of_trunk()
                if branch is not None:
                    site = self.sites.of_branch(branch, weight)
                # Its axis is that of the normalization, whatever is around.
                around = surroundings_of(self.graph, call)
                around = dataclasses.replace(around, axis=-1)
                made = self.applicator.named(
                    self.scheme.normalization(site, old), call.operation.name, around
                )
                for layer in made:
                    layer.trainable = call.operation.trainable
                self.plan.redrawn.append(call.operation)
                self.placing.after(call, made)

    def _weight(self, weight: Any) -> None:
        """Plans one weight layer, or a stack."""
        call, plan = weight.call, self.plan
        layer = call.operation
        frozen_head = weight.role == "head" and not layer.trainable
        if call.body is not None:
            self._stack(call)
        elif not plan.knows(call):
            plan.left.append(call)
            if kinds.unwrapped(layer) is not layer and not plan.keep(layer):
                self.edits.layers[id(layer)] = unwrapped(layer, {})
            else:
                self._measure(call)
        elif weight.role == "gate" or frozen_head or self._keeps_zeros(weight):
            if id(layer) not in self.edits.layers:
                self.edits.layers[id(layer)] = redrawn(self.applicator, layer)
                plan.redrawn.append(layer)
        else:
            self._draw(weight, self._weight_site(weight))

    def _measure(self, call: Any) -> None:
        """Puts a factor behind a layer of unknown size that makes the stream."""
        layer = call.operation
        if self.survey.inside or self.plan.keep(layer) or not self.plan.draws:
            return
        index = measured.stream_output(self.survey, call)
        if index is None:
            return
        square = measured.stream_square(self.graph, call, index)
        if square is None:
            return
        behind = measured.factor_square(self.graph, call, index)
        if not measured.is_off(square * behind):
            return
        self.plan.measured[id(layer)] = square
        self.plan.sized.append(call)
        factor = [keras.layers.Rescaling((square * behind) ** -0.5)]
        around = self._around(call)
        made = self.applicator.named(factor, f"{layer.name}_size", around)
        self.placing.after(call, made, index)

    def _keeps_zeros(self, weight: Any) -> bool:
        """Whether a kernel starts at zero on purpose, and not to close a branch."""
        if not given.is_zero(weight.call.operation):
            return False
        closes = weight.branch is not None and weight.call in weight.branch.last
        if not closes:
            self.plan.kept_zeros.append(weight.call)
        return not closes

    def _weight_site(self, weight: Any) -> Site:
        role = weight.role
        if not kinds.reads_signals(weight.call.operation) and role == "stem":
            role = "embedding"
        if weight.branch is None:
            return self.sites.of_trunk(role)
        return self.sites.of_weight(weight.branch, weight.call, role)

    def _draw(self, weight: Any, site: Site) -> None:
        """Plans a weight layer that the scheme draws, and what is around it."""
        call, survey = weight.call, self.survey
        layer, name = call.operation, call.operation.name
        around = surroundings_of(self.graph, call)
        if weight.role != "projection" and kinds.reads_signals(layer):
            first = self._unpadded(call)
            at = functools.partial(self._before_weight, call, first, site)
            self.placing.before(survey, first, at, name)
        behind: Layers = []
        if kinds.is_fused(call) and survey.splits(call):
            behind = self._split(call, site)
        if id(layer) not in self.edits.layers:
            new, intended = drawn(self.applicator, weight, site, bool(behind))
            self.edits.layers[id(layer)] = new
            # A layer in its place may scale its kernels itself.
            if intended is None:
                self.plan.redrawn.append(layer)
            elif kinds.kernel_arguments(new):
                is_fixed = given.has_size(layer)
                self.kernels.append(Kernel(weight, new, intended, is_fixed))
        if weight.role == "projection":
            behind += self.applicator.at("after_projection", site, name, around)
        self.placing.after(call, behind)

    def _before_weight(self, call: Any, first: Any, site: Site, prefix: str) -> Layers:
        """What the scheme puts in front of a weight layer and of its padding.

        Layers that put out more channels than they read do not stand in front of a
        weight layer that has a kernel for each channel, or for each group of them.
        """
        around = surroundings_of(self.graph, first)
        made = self.applicator.at("before_weight", site, prefix, around)
        if not kinds.counts_channels(call.operation):
            return made
        shape = tuple(self.graph.specs[first.inputs[0]].shape)
        fit = [x for x in made if tuple(x.compute_output_shape(shape)) == shape]
        if len(fit) < len(made):
            self.plan.left_out.append(call)
        return fit

    def _split(self, call: Any, site: Site) -> Layers:
        """An activation that the layer held, with what the scheme puts in front.

        Empty if the scheme wants nothing there: the layer keeps its activation.
        """
        old, around = kinds.unwrapped(call.operation), surroundings_of(self.graph, call)
        name = f"{call.operation.name}_activation"
        while name in self.plan.names:
            name += "_"
        before = self.applicator.at("before_activation", site, name, around)
        plain = keras.layers.Activation(
            old.activation,
            # Of what it puts out, not of what stands in front.
            activity_regularizer=old.activity_regularizer,
            name=name,
            dtype=old.dtype_policy,
        )
        activation = self.applicator.activation(site, plain, around)
        return [*before, activation] if before or activation is not plain else []

    def _unpadded(self, call: Any) -> Any:
        """The call in front of which the weight layer's input has no padding yet."""
        while True:
            before = self.survey.producers[call.inputs[0]]
            alone = len(self.survey.consumers[call.inputs[0]]) == 1
            if not (kinds.is_padding(before.operation) and alone):
                return call
            call = before

    def _activations(self) -> None:
        """Plans the activations that are calls of their own."""
        for call in self.survey.activations:
            site, around = self.sites.of_activation(call), self._around(call)
            at = functools.partial(
                self.applicator.at, "before_activation", site, surroundings=around
            )
            self.placing.before(self.survey, call, at, call.operation.name)
            self._activation(call, site)
        for block in self.survey.blocks:
            if block.output != block.merge.outputs[0]:
                branch = self.survey.branch_of(block, block.branches[0])
                end = self.survey.producers[block.output]
                self._activation(end, self.sites.of_branch(branch), block.merge.owner)

    def _activation(self, call: Any, site: Site, owner: Any = None) -> None:
        """Puts what the scheme has for an activation in its place.

        Args:
            call: `fixinit.graph.Call` of the activation.
            site: Its `Site`.
            owner: The `ResidualBlock` that ends in it, if there is one.
        """
        plain = plain_activation(call)
        if plain is None:
            relu = keras.layers.Activation("relu")
            if self.scheme.activation(site, relu) is not relu:
                self.plan.plain_activations.append(call)
            return
        around = self._around(call)

        def make() -> keras.layers.Layer | None:
            new = self.applicator.activation(site, plain, around)
            is_plain = layers.plain_layer(call.operation) is call.operation
            return None if new is plain and is_plain else new

        if owner is None:
            self.placing.instead(self.survey, call, make)
        elif (new := make()) is not None:
            self.edits.ends[id(owner)] = new

    def _around(self, call: Any) -> Any:
        return surroundings_of(self.graph, call)

    def _end(self) -> None:
        """Puts the scheme's layers behind the last block."""
        ends = [block.output for block in self.survey.blocks]
        ends += [call.outputs[0] for call in self.sites.stacks]
        if self.plan.replaces or not ends:
            return
        # Values are numbered in the order of the graph.
        last = max(ends)
        around = self._around(self.survey.producers[last])
        site = self.sites.of_trunk("head")
        made = self.applicator.at("network_end", site, "network_end", around)
        for call in self.survey.consumers.get(last, []):
            self.placing.first(call, made, call.inputs.index(last))

    def _stack(self, call: Any) -> None:
        """Plans the blocks of a stack."""
        stack, applicator = call.operation, self.applicator
        if not isinstance(stack.block, (layers.ResidualBlock, keras.Model)):
            self.plan.left.append(call)
            return
        start, counter = applicator.next_seed, self.sites.stacks[call]
        answers = self._stacked_answers(call, dataclasses.replace(counter))
        made = first = self._stacked_block(call, counter)
        step = max(1, applicator.next_seed - start)
        if self.scheme.depends_on_branch:
            rest = range(stack.depth - 1)
            made = [first, *(self._stacked_block(call, counter) for _ in rest)]
        elif stack.depth > 1:
            with self.plan.trying():
                check_independent(self.scheme, next(answers), answers)
        applicator.next_seed = start + stack.depth * step
        self.edits.layers[id(stack)] = cloned_stack(stack, made, stack.depth, step)

    def _stacked_block(self, call: Any, counter: Counter) -> keras.layers.Layer:
        """The next block of a stack, made again."""
        inner = GraphPlan(self.plan, call.body, counter, inside=True)
        return Rewriter(inner.edits).layer(call.operation.block)

    def _stacked_answers(self, call: Any, counter: Counter) -> Iterator[Layers]:
        """The scheme's layers in the blocks of a stack: the first, and some others."""
        for index in (0, *compared(call.operation.depth)):
            at = dataclasses.replace(counter)
            at.skip(call.body, index)
            yield GraphPlan(self.plan, call.body, at, inside=True).edits.answers()
