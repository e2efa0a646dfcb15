"""Asks a scheme about every layer that the survey has found."""

import collections
import dataclasses
import math

import keras

from fixinit import layers, theory
from fixinit._validation import check_positive_int
from fixinit.conversion import kernels, kinds
from fixinit.conversion.rewrite import Edits, Rewriter, cloned_stack, place_of
from fixinit.conversion.survey import Survey
from fixinit.graph import find_blocks
from fixinit.schemes.answers import WatchedSite, first_seed, named, with_seed
from fixinit.schemes.scheme import Scheme


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
        times_called: Dict from ids of layers to the number of their calls.
        left: List of the calls of weight layers that stay as they are.
        closed: Dict from branches to whether their last kernels can make them zero.
        survey: `Survey` of the model, stacks taken as one layer.
        surveys: List of it and those of the first blocks of stacks.
    """

    def __init__(self, graph, scheme, keep, seed=None):
        if seed is not None:
            check_positive_int("seed", seed, minimum=0)
        self.scheme, self.keep = scheme, keep
        self.graph = graph
        self.num_branches = max(1, _count(self.graph))
        self.next_seed = first_seed(seed)
        self.edits, self.kernels, self.left, self.closed = Edits(), [], [], {}
        self.times_called = collections.Counter(
            id(call.operation) for call, _ in self.graph.walk()
        )
        self._sites = []
        self._merge_places = {}  # the places of additions, by ids of operations
        self._put = {}  # the layers in front of and behind shared layers
        self._names = {call.operation.name for call, _ in self.graph.walk()}
        self.surveys = []
        self.survey = self._plan(self.graph, 0)

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
                self.left.append(weight.call)
            elif weight.role == "gate" or self._is_frozen_head(weight):
                self._gate(weight.call)
            else:
                self._weight(survey, weight)
        for call, site in survey.activations.items():
            answer = self.scheme.before_activation(self._watched(site))
            self._before(call, 0, answer, call.operation.name)
        for block in survey.blocks:
            self._block(survey, block)
        return survey

    def _knows(self, call):
        """Whether the converter draws the kernels of a weight layer."""
        known = kinds.kernel_arguments(call.operation)
        return bool(known) and not self.keep(call.operation)

    def _may_be_zero(self, call):
        """Whether a weight layer can start at zero, here and wherever it is called."""
        operation = call.operation
        once = self.times_called[id(operation)] == 1 and not kinds.is_fused(call)
        return once and self._knows(call) and operation.trainable

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
        if weight.role != "projection":
            first = self._unpadded(survey, call)
            self._before(first, 0, self.scheme.before_weight(site), name)
        if id(call.operation) not in self.edits.layers:
            self._replace(survey, weight, site)
        behind = []
        if kinds.is_fused(call) and weight.role != "head":
            behind = self._split(call, site)
        if weight.role == "projection":
            behind += _named(self.scheme.after_projection(site), name, call)
        if behind:
            self.edits.after[place_of(call)] = self._shared("after", call, behind)

    def _replace(self, survey, weight, site):
        """The weight layer again, drawn as the scheme says."""
        call, role = weight.call, weight.role
        old = kinds.unwrapped(call.operation)
        *others, main = kinds.kernel_arguments(old)
        initializer = self.scheme.kernel_initializer(site)
        if role == "head":
            initializer = self.scheme.head_initializer()
        changes = {main: initializer}
        # The part of a separable convolution that no activation follows.
        changes |= {name: keras.initializers.HeNormal() for name in others}
        intended = self._intended(initializer, site, old, main)
        for name in changes:
            gain = self._gain(weight, site) if name == main else 1.0
            seeded = with_seed(changes[name], self._seed())
            if role != "head":
                seeded = kernels.fitted(seeded, old, name, gain)
            changes[name] = seeded
        if role != "head":
            changes["use_bias"] = self.scheme.use_bias
        if role != "head" and kinds.is_fused(call) and self._asks_before(site):
            changes["activation"] = "linear"
        # Of a wrapper that is taken off the name stays, which is the one in the model.
        config = {**old.get_config(), **changes, "name": call.operation.name}
        if role != "head" and isinstance(old, keras.layers.EinsumDense):
            config.pop("use_bias")
            config["bias_axes"] = config["bias_axes"] if self.scheme.use_bias else None
        new = type(old).from_config(config)
        self.edits.layers[id(call.operation)] = new
        self.kernels.append(Kernel(weight, new, intended))

    def _gate(self, call):
        """A layer that stays as it is, with a draw of its own."""
        old = kinds.unwrapped(call.operation)
        drawn = {
            name: with_seed(getattr(old, name), self._seed())
            for name in kinds.kernel_arguments(old)
        }
        config = {**old.get_config(), **drawn, "name": call.operation.name}
        new = type(old).from_config(config)
        self.edits.layers.setdefault(id(call.operation), new)

    def _seed(self):
        self.next_seed += 1
        return self.next_seed - 1

    def _gain(self, weight, site):
        """What keeps the mean square from one weight layer to the next."""
        if site.preactivation or weight.role != "branch":
            return 2.0
        if weight.activation is None:
            return 2.0 if weight.call in weight.branch.last else 1.0
        return kernels.gain_behind(weight.activation.operation)

    def _intended(self, initializer, site, layer, argument):
        shape = tuple(kinds.kernel_of(layer, argument).shape)
        plain = Scheme.kernel_initializer(self.scheme, site)
        variance = theory.weight_moments(plain, shape)[1]
        return theory.weight_moments(initializer, shape)[1] / variance

    def _asks_before(self, site):
        return bool(self.scheme.before_activation(site))

    def _split(self, call, site):
        """An activation that the layer held, behind what the scheme puts in front."""
        old = kinds.unwrapped(call.operation)
        name = f"{call.operation.name}_activation"
        while name in self._names:
            name += "_"
        before = _named(self.scheme.before_activation(site), name, call)
        if not before:
            return []
        activation = old.get_config()["activation"]
        return [
            *before,
            keras.layers.Activation(activation, name=name, dtype=old.dtype_policy),
        ]

    def _unpadded(self, survey, call):
        """The call in front of which the weight layer's input has no padding yet."""
        while True:
            before = survey.producers[call.inputs[0]]
            alone = len(survey.consumers[call.inputs[0]]) == 1
            if not (kinds.is_padding(before.operation) and alone):
                return call
            call = before

    def _before(self, call, index, answer, prefix):
        if answer:
            made = self._shared(("before", index), call, _named(answer, prefix, call))
            self.edits.before[place_of(call), index] = made

    def _shared(self, where, call, made):
        """Layers that belong to a layer go with it wherever it is called."""
        if call.node is None or not isinstance(call.operation, keras.layers.Layer):
            return made
        return self._put.setdefault((where, id(call.operation)), made)

    def zeroes(self, branch):
        """Whether the scheme starts a branch's last kernels at zero."""
        site = self._watched(branch.site(self.num_branches))
        initializer = self.scheme.kernel_initializer(site)
        return isinstance(initializer, keras.initializers.Zeros)

    def _block(self, survey, block):
        """The end of one block: what is behind its branches, and how it adds."""
        merge, place = block.merge, place_of(block.merge)
        end = self._merge_name(merge)
        prefix = "branch" if merge.owner is not None else f"{end}_branch"
        for number, position in enumerate(block.branches):
            branch = survey.branch_of(block, position)
            site = self._watched(branch.site(self.num_branches))
            name = f"{prefix}{number + 1}" if number else prefix
            behind = _named(self.scheme.after_branch(site), name, merge)
            if self.zeroes(branch) and not self.closed[branch]:
                zero = layers.ScalarMultiplier("zeros")
                behind = _named([zero], f"{name}_zero", merge) + behind
            if behind:
                self.edits.before[place, position] = behind
        (answer,) = _named([self.scheme.merge(site)], "merge", merge)
        if merge.owner is not None or not _is_sum(answer) or not _is_plain(merge):
            config = {**answer.get_config(), "name": end}
            made = type(answer).from_config(config)
            self.edits.merges[place] = (made, block.shortcut, block.branches)
        if self.scheme.shifts_projection and block.changes_shape:
            self._shift(block)

    def _merge_name(self, merge):
        """That of the addition; one that is called again gives each call its own."""
        places = self._merge_places.setdefault(id(merge.operation), [])
        if place_of(merge) not in places:
            places.append(place_of(merge))
        count = places.index(place_of(merge)) + 1
        name = merge.operation.name
        return name if count == 1 else f"{name}_call{count}"

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
        start, outer = self.next_seed, (self.edits, self.kernels, self._sites)

        def block(index):
            self.edits, self.kernels, self._sites = Edits(), [], []
            self._plan(call.body, first_branch + index * each, inside=True)
            return Rewriter(self.edits).layer(stack.block)

        made = block(0)
        step = max(1, self.next_seed - start)
        if any(site.asked for site in self._sites):
            made = [made, *(block(index) for index in range(1, stack.depth))]
        self.next_seed = start + stack.depth * step
        self.edits, self.kernels, self._sites = outer
        new = cloned_stack(stack, made, stack.depth, step)
        self.edits.layers[id(stack)] = new
        return stack.depth * each


def _named(answer, prefix, call):
    """The layers of an answer, named and of the dtype of the call they stand at."""
    policy = getattr(call.operation, "dtype_policy", None)
    if policy is None:
        policy = call.node.outputs[0].dtype
        if policy in ("float16", "bfloat16"):
            policy = f"mixed_{policy}"
    return named(answer, prefix, dtype=policy)


def _count(graph):
    """The residual branches of a network, those in stacks counted one by one."""
    return sum(
        math.prod(depth) * sum(len(block.branches) for block in find_blocks(inner))
        for inner, depth in graph.graphs()
    )


def _is_sum(merge):
    return isinstance(merge, layers.ScaledAdd) and (
        merge.shortcut_scale == merge.branch_scale == 1
    )


def _is_plain(call):
    """Whether a merge adds without factors."""
    operation = call.operation
    ours = isinstance(operation, layers.ScaledAdd)
    return _is_sum(operation) if ours else type(operation).__name__ == "Add"
