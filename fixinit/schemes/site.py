"""Where a layer sits in a residual network."""

import dataclasses

from fixinit._checked import check_fields
from fixinit._validation import check_choice, check_positive_int, check_variance

ATTENTION_ROLES = ("query", "key", "value", "output")
# Those whose outputs reach the sum: queries and keys make scores.
SUMMED_ROLES = ("branch", "value", "output")
BRANCH_ROLES = ("branch", *ATTENTION_ROLES)
ROLES = (*BRANCH_ROLES, "stem", "embedding", "projection", "trunk", "head")


@dataclasses.dataclass(frozen=True)
class Site:
    """Where a layer sits in a residual network.

    Attributes:
        branch: int. Index of the residual branch, counted from the input, from 0.
        num_branches: int. Number of residual branches in the network (L).
        layer: int. Index of the weight layer within its branch, from 0.
        branch_depth: int. Number of weight layers in the branch (m).
        preactivation: bool. Whether activations stand before the weight layers
            of a branch (He et al., 2016b) rather than after them.
        role: `"branch"` (a weight layer of a branch), in attention `"query"`,
            `"key"`, `"value"` or `"output"`; outside the branches `"stem"`,
            `"embedding"`, `"projection"` (a shortcut with weights), `"head"` (the
            classification layer) and `"trunk"` (any other).
        stage: int. Index of the stage, from 0. A stage ends where a block changes
            the shape.
        stage_block: int. Index of the block within its stage, from 0.
        changes_shape: bool. Whether the block of the branch changes the shape, so that
            its shortcut does, too.
        stream_sums: int. Number of sums of branches in the stream that the block reads,
            since the block that last changed the shape, whose sum counts.
        num_blocks: int. Number of residual blocks in the network (N), by default
            one for every branch.
        smallest_start: float. The smallest scale at which the branch may start: 0,
            unless it holds other branches, whose zeros would multiply with its own.

    Example:

    >>> site = fixinit.schemes.Site(branch=0, num_branches=9, layer=1)
    >>> site.is_last
    True

    Raises:
        ValueError: If a number is outside its range, or the role is unknown.
    """

    branch: int
    num_branches: int
    layer: int = 0
    branch_depth: int = 2
    preactivation: bool = False
    role: str = "branch"
    stage: int = 0
    stage_block: int = 0
    changes_shape: bool = False
    stream_sums: int = 0
    num_blocks: int | None = None
    smallest_start: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive_int("num_branches", self.num_branches)
        check_positive_int("branch_depth", self.branch_depth)
        for name in ("branch", "layer", "stage", "stage_block", "stream_sums"):
            check_positive_int(name, getattr(self, name), minimum=0)
        check_choice("role", self.role, ROLES)
        if self.branch >= self.num_branches or self.layer >= self.branch_depth:
            raise ValueError(
                "`branch` and `layer` count from 0, so they must be smaller than "
                f"`num_branches` and `branch_depth`. Received: {self}"
            )
        if self.num_blocks is None:
            object.__setattr__(self, "num_blocks", self.num_branches)
        check_positive_int("num_blocks", self.num_blocks)
        check_variance("smallest_start", self.smallest_start)

    @property
    def block(self) -> int:
        """Index of the residual block, from 0: a Transformer's holds two branches."""
        assert self.num_blocks is not None
        return self.branch * self.num_blocks // self.num_branches

    @property
    def is_in_branch(self) -> bool:
        """Whether the layer is a weight layer of a residual branch."""
        return self.role in BRANCH_ROLES

    @property
    def is_last(self) -> bool:
        """Whether the layer is the last weight layer of a residual branch."""
        return self.is_in_branch and self.layer == self.branch_depth - 1
