"""Numbers the branches, blocks and stages of a network in the order of its graph."""

import dataclasses
import math
from typing import Any

from fixinit.conversion.survey import stream_blocks
from fixinit.schemes import Site


@dataclasses.dataclass
class Counter:
    """What has been counted so far, from the input on.

    Attributes:
        branch: Index of the next branch.
        stage: Index of the stage.
        stage_block: Index of the next block in it.
        stream_sums: Number of branches that the stream has summed since the block that
            last changed the shape, with it.
    """

    branch: int = 0
    stage: int = 0
    stage_block: int = 0
    stream_sums: int = 0

    def place(
        self, changes_shape: bool, is_first: bool, branches: int = 1
    ) -> dict[str, Any]:
        """The place of the next block. A change of shape starts a stage.

        Args:
            changes_shape: bool. Whether the block changes the shape.
            is_first: bool. Whether it is the first of the network.
            branches: int, the number of its branches.
        """
        if changes_shape and not is_first:
            self.stage, self.stage_block = self.stage + 1, 0
        place = {
            "stage": self.stage,
            "stage_block": self.stage_block,
            "changes_shape": changes_shape,
            "stream_sums": self.stream_sums,
        }
        self.stage_block += 1
        self.stream_sums = branches + (0 if changes_shape else self.stream_sums)
        return place

    def skip(self, graph: Any, times: int) -> None:
        """Counts what is in a graph, called a number of times."""
        blocks = stream_blocks(graph)
        branches = times * sum(len(block.branches) for block in blocks)
        self.branch += branches
        self.stream_sums += branches
        self.stage_block += times * len(blocks)


def count(graph: Any, what: str) -> int:
    """The `"branches"` or `"blocks"` of a network, those in stacks one by one."""
    total = 0
    for inner, depth in graph.graphs():
        for block in stream_blocks(inner):
            each = len(block.branches) if what == "branches" else 1
            total += math.prod(depth) * each
    return max(1, total)


class Sites:
    """The `Site`s of the layers of one graph.

    Args:
        survey: `Survey` of the graph, whose branches are numbered.
        counter: `Counter`, which goes on.
        num_blocks: int, residual blocks of the whole network.
        is_starting: Function from a branch to whether its last kernels start it.

    Attributes:
        stacks: Dict from the calls of stacks to the `Counter`s at their first blocks.
    """

    def __init__(
        self, survey: Any, counter: Counter, num_blocks: int, is_starting: Any
    ) -> None:
        self.survey = survey
        self.num_blocks = num_blocks
        self.is_starting = is_starting
        self.stacks: dict[Any, Counter] = {}
        self._places: dict[Any, dict[str, Any]] = {}
        self._number(counter)

    def _number(self, counter: Counter) -> None:
        survey = self.survey
        blocks = {block.merge: block for block in survey.blocks}
        for call in survey.graph.calls:
            if call.body is not None:
                self.stacks[call] = dataclasses.replace(counter)
                counter.skip(call.body, call.operation.depth)
            block = blocks.get(call)
            if block is None:
                continue
            is_first = counter.branch == 0
            branches = len(block.branches)
            self._places[block] = counter.place(block.changes_shape, is_first, branches)
            for position in block.branches:
                survey.branch_of(block, position).index = counter.branch
                counter.branch += 1

    def of_branch(self, branch: Any, call: Any = None) -> Site:
        """The site of a weight layer of a branch, by default of its last one."""
        return self._placed(branch, branch.site(self.survey.num_branches, call))

    def of_weight(self, branch: Any, call: Any, role: str) -> Site:
        """The site at which a weight layer in or beside a branch is drawn.

        Where its last kernels cannot start the branch, a multiplier takes their part
        and counts as one layer more.
        """
        starts = self.is_starting(branch)
        site = branch.site(self.survey.num_branches, call, role, starts)
        return self._placed(branch, site)

    def _placed(self, branch: Any, site: Site) -> Site:
        smallest = 0.0
        if branch.holds_branches or branch.is_shut:
            smallest = smallest_start(branch, self.survey.num_branches)
        return dataclasses.replace(
            site,
            num_blocks=self.num_blocks,
            smallest_start=smallest,
            **self._places[branch.block],
        )

    def of_trunk(self, role: str = "trunk") -> Site:
        """The site of a layer outside of the branches."""
        site = self.survey.trunk_site(role)
        return dataclasses.replace(site, num_blocks=self.num_blocks)

    def of_activation(self, call: Any) -> Site:
        """The site of the weight layer that an activation belongs to."""
        branch, weight = self.survey.activations[call]
        return self.of_trunk() if branch is None else self.of_branch(branch, weight)


def smallest_start(branch: Any, num_branches: int) -> float:
    """The scale at which a branch starts that holds other branches.

    Zeros in zeros multiply: where blocks are nested in branches, as in the decoders of
    LinkNet, the gradient of an inner branch is a product of zeros, which training may
    never leave. So such a branch starts small. `1 / sqrt(L)` is the largest constant
    that SkipInit allows ([De and Smith, 2020](https://arxiv.org/abs/2002.10444),
    section 4): L branches make the variance `(1 + 1 / L)^L < e` times as large. A
    branch without weights of its own gives what it has read, which adds up by
    amplitudes, so that it is `1 / L`. A branch that zeros of its own shut already is
    not made smaller.

    Args:
        branch: `fixinit.conversion.branch.Branch`.
        num_branches: int, L.
    """
    if branch.is_shut:
        return 1.0
    return num_branches**-0.5 if branch.weights else 1 / num_branches
