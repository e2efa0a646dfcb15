"""The shape of a residual block, before a scheme is applied to it."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """The shape of one residual block: one entry per weight layer.

    Attributes:
        name: The block's name.
        filters: Widths of the weight layers.
        kernel_sizes: Sizes of their kernels.
        strides: Their strides.
        stage: Index of the stage that the block is in.
        stage_block: Index of the block within its stage.
    """

    name: str
    filters: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    stage: int = 0
    stage_block: int = 0

    @property
    def shape(self) -> tuple[tuple[int, ...], ...]:
        """What equal blocks have in common."""
        return self.filters, self.kernel_sizes, self.strides

    @property
    def stride(self) -> int:
        """The stride of the whole block."""
        return int(np.prod(self.strides))

    def changes_shape(self, channels: int) -> bool:
        """Whether the block gives another shape than inputs of `channels` have."""
        return self.stride > 1 or self.filters[-1] != channels


def equal_blocks(plans: list[BlockPlan], channels: int) -> int:
    """How many of the first blocks keep the shape and are equal."""
    first = plans[0]
    if first.changes_shape(channels):
        return 1
    same = [plan.shape == first.shape for plan in plans]
    return same.index(False) if False in same else len(same)
