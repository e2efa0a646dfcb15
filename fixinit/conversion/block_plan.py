"""Applies a scheme to the residual blocks of a graph."""

import functools
import math
from typing import Any

import keras

from fixinit import layers
from fixinit.conversion.edits import place_of
from fixinit.conversion.placing import surroundings_of
from fixinit.graph import is_activation
from fixinit.graph.mixing import Trial
from fixinit.schemes.apply import Layers, Surroundings
from fixinit.schemes.start import Start, constant

# Of signals, by a branch without weights: less is the noise of few numbers.
_MOST_GROWTH = 1.1


class BlockPlan:
    """What a conversion will do where blocks start, end and add.

    Args:
        graph_plan: `GraphPlan` of the graph that holds the blocks.
    """

    def __init__(self, graph_plan: Any) -> None:
        self.plan, self.survey = graph_plan.plan, graph_plan.survey
        self.placing, self.edits = graph_plan.placing, graph_plan.placing.edits
        self.sites = graph_plan.sites
        self.applicator, self.scheme = graph_plan.applicator, graph_plan.scheme
        self._trials: dict[Any, tuple[float, float] | None] = {}
        for block in self.survey.blocks:
            self._block(block)

    def around(self, call: Any) -> Surroundings:
        """What new layers at a call have in common with it."""
        return surroundings_of(self.survey.graph, call)

    def _block(self, block: Any) -> None:
        """Plans the start and the end of a block's branches, and how it adds."""
        survey, merge, place = self.survey, block.merge, place_of(block.merge)
        around = self.around(merge)
        end = self.placing.merge_name(survey, merge)
        prefix = "branch" if merge.owner is not None else f"{end}_branch"
        for number, position in enumerate(block.branches):
            branch = survey.branch_of(block, position)
            name = f"{prefix}{number + 1}" if number else prefix
            make = functools.partial(self._branch_end, branch, name)
            behind = self.placing.once(self._end_key(branch), make)
            if behind:
                self.edits.before[place, position] = behind
        branches = [survey.branch_of(block, i) for i in block.branches]
        if taken := self._taken(branches[-1]):
            factor = [keras.layers.Rescaling(taken[1])]
            made = self.applicator.named(factor, f"{end}_size", around)
            self.edits.after[place] = made
            self.plan.taking_away.append(branches[-1])
        self._branch_starts(block, branches, prefix)
        site = self.sites.of_branch(branches[-1])
        answer = self.applicator.merge(site, end, around)
        stays = _has_factors(answer, {1}) and _has_factors(merge.operation, {1, -1})
        if merge.owner is not None or not stays:
            self.edits.merges[place] = (answer, block.shortcut, block.branches)
            self._keep_signs(merge, prefix)
        if not self.plan.replaces:
            after = self.applicator.at("after_merge", site, end, around)
            if after:
                self.edits.after[place] = [*self.edits.after.get(place, []), *after]
        shifts = self.scheme.shifts_projection and block.changes_shape
        if shifts or self._activation_of_both(block):
            self._shift(block)

    def _keep_signs(self, merge: Any, prefix: str) -> None:
        """Negates what a merge takes away, where another layer takes its place."""
        place, around = place_of(merge), self.around(merge)
        factors = layers.facts_of(merge.operation).factors or ()
        for position, factor in enumerate(factors):
            if factor < 0:
                negative = [keras.layers.Rescaling(-1.0, name="negative")]
                made = self.applicator.named(negative, prefix, around)
                before = self.edits.before.get((place, position), [])
                self.edits.before[place, position] = [*before, *made]

    def _branch_starts(self, block: Any, branches: list[Any], prefix: str) -> None:
        """Puts the scheme's layers where the branches of a block start."""
        if self.plan.replaces:
            return
        for number, branch in enumerate(branches):
            name = f"{prefix}{number + 1}" if number else prefix
            site = self.sites.of_branch(branch, next(iter(branch.weights), None))
            around = self.around(block.merge)
            made = self.applicator.at("branch_start", site, name, around)
            first = self.first_calls(branch.starts, branch.path)
            for call in self._activation_of_both(block) or first:
                self.placing.first(call, made)

    def _activation_of_both(self, block: Any) -> list[Any]:
        """The activation that branch and projection read, `[]` without one.

        A branch in pre-activation order starts in front of it, and the projection reads
        what the first weight layer reads (He et al. 2016b).
        """
        branches = [self.survey.branch_of(block, i) for i in block.branches]
        if not block.changes_shape or len(branches) > 1 or len(branches[0].starts) > 1:
            return []
        (branch,) = branches
        (value,) = branch.starts
        call = self.survey.producers[value]
        inside = {call for path in block.paths for call in path}
        readers = self.survey.consumers.get(value, [])
        shared = branch.preactivation and is_activation(call)
        return [call] if shared and inside.issuperset(readers) else []

    def _end_key(self, branch: Any) -> Any:
        """What the end of a branch belongs to: its weights, if others call them too."""
        times = self.plan.times_called
        calls = [times[id(call.operation)] for call in branch.weights]
        if max(calls, default=1) == 1:
            return branch
        return "end", self.survey.value_origin(branch.value)

    def _branch_end(self, branch: Any, name: str) -> Layers:
        """The layers at the end of a branch."""
        plan, around = self.plan, self.around(branch.block.merge)
        site = self.sites.of_branch(branch)
        end = self.applicator.at("branch_end", site, name, around)
        end = self._size(branch, name, around) + end
        by_kernels = plan.closed[branch] or plan.starts_by_kernels(branch)
        if not plan.zeroes(branch) or by_kernels:
            return end
        # A multiplier takes the part of the zeros in the last kernels.
        start = constant(site.smallest_start)
        multiplier = [layers.ScalarMultiplier(start)]
        return self.applicator.named(multiplier, f"{name}_start", around) + end

    def _size(self, branch: Any, name: str, around: Surroundings) -> Layers:
        """A constant factor for a branch without weights, which has no kernel to do it.

        It makes up for what the branch makes larger: a Fourier transform of n values
        multiplies the mean square by n. Where the branch starts elsewhere than at zero,
        it makes the sum as large as the scheme has it for branches with weights. What
        these give is uncorrelated with the shortcut, and what pooling gives is not.
        """
        moments = self._moments(branch)
        if moments is None:
            return []
        taken = self._taken(branch)
        factor = taken[0] if taken else _factor(self.plan.start(branch), *moments)
        made = [] if factor == 1 else [keras.layers.Rescaling(factor)]
        return self.applicator.named(made, f"{name}_size", around)

    def _moments(self, branch: Any) -> tuple[float, float] | None:
        """`(mean square, correlation)` of a branch without weights: see `Trial`."""
        if self.plan.replaces or any(call.has_weights for call in branch.path):
            return None
        if branch not in self._trials:
            start = branch.starts[0]
            spec = self.survey.graph.specs[start]
            trial = Trial(branch.path, start, branch.value, spec)
            self._trials[branch] = trial.moments(self.plan.removed)
        return self._trials[branch]

    def _taken(self, branch: Any) -> tuple[float, float] | None:
        """Factors where a branch takes away what its shortcut carries: see `_taken`."""
        moments, block = self._moments(branch), branch.block
        if moments is None or len(block.branches) > 1 or block.changes_shape:
            return None
        return _taken(self.plan.start(branch), *moments, self.plan.num_branches)

    def _shift(self, block: Any) -> None:
        """Lets the shortcut read what the scheme puts in front of the branch."""
        if block.merge.owner is not None:
            self.edits.shared.add(id(block.merge.owner))
            return
        first = self._first_of(block, block.branches[0])
        before = [self.edits.before.get((place_of(c), 0), []) for c in first]
        shift = next((found for found in before if found), None)
        if shift:
            for call in self._first_of(block, block.shortcut):
                self.edits.before[place_of(call), 0] = shift

    def _first_of(self, block: Any, position: int) -> list[Any]:
        return self.first_calls(block.starts[position], block.paths[position])

    def first_calls(self, starts: Any, way: Any) -> list[Any]:
        """The calls of a way that read one of the values where it starts, and stay."""
        return [call for call, _ in self.first_reads(starts, way)]

    def first_reads(self, starts: Any, way: Any) -> list[tuple[Any, int]]:
        """`(call, index)` of those calls, and as which input they read the value."""
        values, found = set(starts), []
        for call in way:
            index = next((i for i, v in enumerate(call.inputs) if v in values), None)
            if index is not None:
                if self.plan.removed(call.operation):
                    values.update(call.outputs)
                else:
                    found.append((call, index))
        return found


def _factor(start: Start, square: float, correlation: float) -> float:
    """What a branch of some mean square is to be multiplied by.

    With c and a the scales of shortcut and branch, F the branch with mean square q and
    correlation r, and s the factor,

        E[(c x + a s F)^2] = c^2 + 2 a c s r sqrt(q) + a^2 s^2 q = c^2 + a^2.

    It is at most 1: what pooling makes smaller in one layer, it may not in the next.
    """
    size = square**0.5
    if start.is_zero:
        return 1.0 if size < _MOST_GROWTH else 1 / size
    across = start.shortcut_scale * correlation
    scale = start.total_scale
    root = math.hypot(across, scale)
    grown = root - math.copysign(1, scale) * across
    return min(1.0, grown / abs(scale) / size)


def _taken(
    start: Start, square: float, correlation: float, num_branches: int
) -> tuple[float, float] | None:
    """Factors of a branch that takes away what its shortcut carries, and of the sum.

    As pooling minus identity (Yu et al., 2022): at its own size, the sum would be less
    than the shortcut alone. So it starts at s = 1 / L, as signals of one direction add
    up, and a factor k behind the sum makes up for the rest:

        E[(k (c x + a s / k F))^2] = c^2 + a^2,

    in the words of `_factor`. `None` for other branches, and those that start at zero.

    Returns:
        `(s / k, k)`.
    """
    if start.is_zero:
        return None
    across = start.total_scale * correlation * square**0.5
    whole = start.shortcut_scale**2 + start.total_scale**2
    if 2 * start.shortcut_scale * across + start.total_scale**2 * square >= 0:
        return None
    small = 1 / num_branches
    rest = small**2 * (across**2 - start.total_scale**2 * square) + whole
    behind = (math.sqrt(rest) - small * across) / start.shortcut_scale
    return small / behind, behind


def _has_factors(operation: Any, allowed: set[int]) -> bool:
    """Whether a merge adds, with none but the allowed factors."""
    facts = layers.facts_of(operation)
    return facts.adds and {*(facts.factors or (1,))} <= allowed
