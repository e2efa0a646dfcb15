"""Asks a scheme about every layer that the survey has found."""

import collections
import dataclasses
import functools
import math

import keras

from fixinit import layers
from fixinit.conversion import kinds
from fixinit.conversion.drawing import Drawing, again
from fixinit.conversion.opening import opened, start_of
from fixinit.conversion.placing import Placing, named_at
from fixinit.conversion.rewrite import Rewriter, cloned_stack, place_of
from fixinit.conversion.survey import Survey, stream_blocks
from fixinit.schemes.answers import WatchedSite


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight layer that has been given an initializer.

    Attributes:
        weight: The `Weight` of the survey.
        layer: The new layer.
        intended: float, the variance that the scheme wants here over that of He
            initialization.
    """

    weight: object
    layer: object
    intended: float


class Plan:
    """What a conversion will do, decided before anything is made.

    Args:
        graph: `fixinit.graph.Graph`.
        scheme: `fixinit.schemes.Scheme`.
        keep: Callable from a layer to whether it stays though it normalizes.
        seed: int or `None`.

    Attributes:
        edits: `Edits` that carry it out.
        kernels: List of `Kernel`s of the layers outside of stacks.
        times_called: Dict from ids of layers to the number of their calls. Models are
            taken apart, and each call of a model counts.
        left: List of the calls of weight layers that stay as they are.
        redrawn: List of weight layers that keep their initializers: gates.
        closed: Dict from branches to whether their last kernels can make them zero.
        survey: `Survey` of the model, stacks taken as one layer.
        surveys: List of it and those of the first blocks of stacks.
    """

    def __init__(self, graph, scheme, keep, seed=None):
        self.scheme, self.keep = scheme, keep
        self.graph = graph
        self.num_branches = max(1, _count(self.graph))
        self.drawing = Drawing(scheme, seed)
        self.placing, self.kernels, self.closed = Placing(), [], {}
        self.left, self.redrawn = [], []
        self.times_called = collections.Counter(
            id(call.operation) for call, _ in self.graph.walk()
        )
        self._sites = []
        self._names = {
            call.operation.name
            for call, _ in self.graph.walk()
            if not self.removed(call.operation)
        }
        self.surveys = []
        self.survey = self._plan(self.graph, 0)
        self.placing.rename(self._names)

    @property
    def edits(self):
        return self.placing.edits

    def removed(self, operation):
        """Whether a layer is taken out."""
        if self.keep(operation):
            return False
        return kinds.is_normalization(operation) or kinds.is_branch_scale(operation)

    def _plan(self, graph, first_branch, inside=False):
        """Adds the edits of one graph."""
        survey = Survey(graph, self.removed, self.num_branches, first_branch, inside)
        if all(known.graph is not graph for known in self.surveys):
            self.surveys.append(survey)
        for call in graph.calls:
            if self.removed(call.operation):
                self.edits.layers[id(call.operation)] = None
        index = first_branch + len(survey.branches)
        for branch in survey.branches:
            self.closed[branch] = branch.closes(survey, self._may_be_zero)
        for weight in survey.weights:
            if weight.call.body is not None:
                index += self._stack(weight.call, index)
            elif not self._knows(weight.call):
                self._leave(weight.call)
            elif weight.role == "gate" or self._is_frozen_head(weight):
                layer = weight.call.operation
                if id(layer) not in self.edits.layers:
                    self.edits.layers[id(layer)] = self.drawing.redrawn(layer)
                    self.redrawn.append(layer)
            else:
                self._weight(survey, weight)
        for call, site in survey.activations.items():
            answer = self.scheme.before_activation(self._watched(site))
            self.placing.before(survey, call, answer, call.operation.name)
        for block in survey.blocks:
            self._block(survey, block)
        return survey

    def _leave(self, call):
        """A weight layer as it is, without a spectral normalization around it."""
        layer = call.operation
        self.left.append(call)
        if kinds.unwrapped(layer) is not layer and not self.keep(layer):
            self.edits.layers[id(layer)] = again(layer, {})

    def _knows(self, call):
        """Whether the converter draws the kernels of a weight layer."""
        known = kinds.kernel_arguments(call.operation)
        # The table of a frozen embedding is what it was frozen for.
        kept = kinds.is_frozen_embedding(call.operation) or self.keep(call.operation)
        return bool(known) and not kept

    def _may_be_zero(self, call):
        """Whether a weight layer can start at zero, here and wherever it is called."""
        operation = call.operation
        once = self.times_called[id(operation)] == 1 and not kinds.is_fused(call)
        free = self._knows(call) and not kinds.constraints(operation)
        return once and free and operation.trainable

    def _is_frozen_head(self, weight):
        return weight.role == "head" and not weight.call.operation.trainable

    def _watched(self, site):
        site = WatchedSite(**dataclasses.asdict(site))
        self._sites.append(site)
        return site

    def _weight(self, survey, weight):
        call, branch = weight.call, weight.branch
        if branch is None:
            site = survey.trunk_site(weight.role)
        else:
            zeroed = self.closed[branch] or not self.zeroes(branch)
            site = branch.site(self.num_branches, call, weight.role, zeroed)
        site = self._watched(site)
        name = call.operation.name
        if weight.role != "projection" and kinds.reads_signals(call.operation):
            first = self._unpadded(survey, call)
            self.placing.before(survey, first, self.scheme.before_weight(site), name)
        behind = []
        if kinds.is_fused(call) and survey.splits(call):
            behind = self._split(survey.graph, call, site)
        if id(call.operation) not in self.edits.layers:
            new, intended = self.drawing.drawn(weight, site, splits=bool(behind))
            self.edits.layers[id(call.operation)] = new
            self.kernels.append(Kernel(weight, new, intended))
        if weight.role == "projection":
            answer = self.scheme.after_projection(site)
            behind += named_at(survey.graph, call, answer, name)
        self.placing.after(survey, call, behind)

    def _split(self, graph, call, site):
        """An activation that the layer held, behind what the scheme puts in front."""
        old = kinds.unwrapped(call.operation)
        name = f"{call.operation.name}_activation"
        while name in self._names:
            name += "_"
        before = named_at(graph, call, self.scheme.before_activation(site), name)
        if not before:
            return []
        activation = keras.layers.Activation(
            old.activation,
            # Of what it puts out, not of what stands in front.
            activity_regularizer=old.activity_regularizer,
            name=name,
            dtype=old.dtype_policy,
        )
        return [*before, activation]

    def _unpadded(self, survey, call):
        """The call in front of which the weight layer's input has no padding yet."""
        while True:
            before = survey.producers[call.inputs[0]]
            alone = len(survey.consumers[call.inputs[0]]) == 1
            if not (kinds.is_padding(before.operation) and alone):
                return call
            call = before

    def zeroes(self, branch):
        """Whether the scheme starts a branch's last kernels at zero."""
        site = self._watched(branch.site(self.num_branches))
        initializer = self.scheme.kernel_initializer(site)
        return isinstance(initializer, keras.initializers.Zeros)

    def starts_by_kernels(self, branch):
        """Whether a branch that holds others starts small by its own kernels.

        Where the scheme would have zeros in them, and it has some that are drawn.
        """
        drawn = branch.weights and all(map(self._knows, branch.weights))
        if not (drawn and branch.holds_branches and self.zeroes(branch)):
            return False
        return not any(kinds.constraints(call.operation) for call in branch.last)

    def _block(self, survey, block):
        """The end of one block: what is behind its branches, and how it adds."""
        merge, place = block.merge, place_of(block.merge)
        end = self.placing.merge_name(survey, merge)
        prefix = "branch" if merge.owner is not None else f"{end}_branch"
        for number, position in enumerate(block.branches):
            branch = survey.branch_of(block, position)
            site = self._watched(branch.site(self.num_branches))
            name = f"{prefix}{number + 1}" if number else prefix
            make = functools.partial(
                self._after_branch, survey.graph, branch, site, name
            )
            behind = self.placing.once(self._end_key(survey, branch), make)
            if behind:
                self.edits.before[place, position] = behind
        (answer,) = named_at(survey.graph, merge, [self.scheme.merge(site)], "merge")
        if merge.owner is not None or not _is_sum(answer) or not _is_plain(merge):
            config = {**answer.get_config(), "name": end}
            made = type(answer).from_config(config)
            self.edits.merges[place] = (made, block.shortcut, block.branches)
        if self.scheme.shifts_projection and block.changes_shape:
            self._shift(block)

    def _end_key(self, survey, branch):
        """What the end of a branch belongs to: its weights, if others call them too."""
        calls = [self.times_called[id(call.operation)] for call in branch.weights]
        if max(calls, default=1) == 1:
            return branch
        return "end", survey.value_origin(branch.value)

    def _after_branch(self, graph, branch, site, name):
        """The layers at the end of a branch."""
        answer, merge = self.scheme.after_branch(site), branch.block.merge
        first = []
        if branch.holds_branches:
            start = start_of(branch, self.num_branches)
            answer = opened(answer, start)
            if self.zeroes(branch) and not self.starts_by_kernels(branch):
                first = [layers.ScalarMultiplier(keras.initializers.Constant(start))]
        elif self.zeroes(branch) and not self.closed[branch]:
            first = [layers.ScalarMultiplier("zeros")]
        first = named_at(graph, merge, first, f"{name}_start")
        return first + named_at(graph, merge, answer, name)

    def _shift(self, block):
        """Lets the shortcut read what the scheme puts in front of the branch."""
        if block.merge.owner is not None:
            self.edits.shared.add(id(block.merge.owner))
            return
        branch = block.ways[block.branches[0]]
        first = self.first_calls(block, branch)
        before = [self.edits.before.get((place_of(c), 0), []) for c in first]
        shift = next((found for found in before if found), None)
        if shift:
            for call in self.first_calls(block, block.ways[block.shortcut]):
                self.edits.before[place_of(call), 0] = shift

    def first_calls(self, block, way):
        """The calls of a way that read the block's input and stay."""
        values, found = {block.input}, []
        for call in way:
            if values & set(call.inputs):
                if self.removed(call.operation):
                    values.update(call.outputs)
                else:
                    found.append(call)
        return found

    def _stack(self, call, first_branch):
        """Plans the blocks of a stack; returns the number of their branches."""
        stack, each = call.operation, _count(call.body)
        if not isinstance(stack.block, (layers.ResidualBlock, keras.Model)):
            self.left.append(call)
            return stack.depth * each
        start = self.drawing.next_seed
        outer = (self.placing, self.kernels, self._sites)

        def block(index):
            self.placing, self.kernels, self._sites = Placing(), [], []
            self._plan(call.body, first_branch + index * each, inside=True)
            return Rewriter(self.edits).layer(stack.block)

        made = block(0)
        step = max(1, self.drawing.next_seed - start)
        if any(site.asked for site in self._sites):
            made = [made, *(block(index) for index in range(1, stack.depth))]
        self.drawing.next_seed = start + stack.depth * step
        self.placing, self.kernels, self._sites = outer
        new = cloned_stack(stack, made, stack.depth, step)
        self.edits.layers[id(stack)] = new
        return stack.depth * each


def _count(graph):
    """The residual branches of a network, those in stacks counted one by one."""
    return sum(
        math.prod(depth) * sum(len(block.branches) for block in stream_blocks(inner))
        for inner, depth in graph.graphs()
    )


def _is_sum(merge):
    return isinstance(merge, layers.ScaledAdd) and (
        merge.shortcut_scale == merge.branch_scale == 1
    )


def _is_plain(call):
    """Whether a merge adds without factors."""
    facts = layers.facts_of(call.operation)
    return facts.adds and all(factor == 1 for factor in facts.factors or ())
