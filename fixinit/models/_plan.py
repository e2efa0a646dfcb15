"""The shape of a residual block, before a scheme is applied to it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

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
        stream_sums: Number of blocks in front of it since the last one that changed the
            shape, with that: see `with_sums`.
        groups: Groups of the weight layers' channels; empty where all have one.
        same_padding: Whether strided convolutions pad as Keras does, at the end first,
            rather than alike on every side.
        pooled_shortcut: Whether a projecting shortcut averages neighbours rather than
            skips them.
        gate_units: Hidden units of squeeze-and-excitation at the branch's end; 0 where
            there is none.
        noise: What distorts the branch at random, one of `NOISES`; `None` for nothing.
        noise_rate: The rate at which it does.
    """

    name: str
    filters: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    strides: tuple[int, ...]
    stage: int = 0
    stage_block: int = 0
    stream_sums: int = 0
    groups: tuple[int, ...] = ()
    same_padding: bool = False
    pooled_shortcut: bool = False
    gate_units: int = 0
    noise: str | None = None
    noise_rate: float = 0.0

    @property
    def shape(self) -> tuple[Any, ...]:
        """What equal blocks have in common."""
        sizes = self.filters, self.kernel_sizes, self.strides, self.groups
        noise = self.noise if self.noise_rate else None
        return *sizes, self.same_padding, self.pooled_shortcut, self.gate_units, noise

    @property
    def stride(self) -> int:
        """The stride of the whole block."""
        return int(np.prod(self.strides))

    def changes_shape(self, channels: int) -> bool:
        """Whether the block gives another shape than inputs of `channels` have."""
        return self.stride > 1 or self.filters[-1] != channels


def with_sums(plans: Sequence[BlockPlan], channels: int) -> list[BlockPlan]:
    """The plans of consecutive blocks, each with the sums in the stream that it reads.

    Args:
        plans: Sequence of `BlockPlan`s.
        channels: int, of what the first block reads.
    """
    found, sums = [], 0
    for plan in plans:
        found.append(dataclasses.replace(plan, stream_sums=sums))
        sums = 1 if plan.changes_shape(channels) else sums + 1
        channels = plan.filters[-1]
    return found


def equal_blocks(plans: list[BlockPlan], channels: int) -> int:
    """How many of the first blocks keep the shape and are equal."""
    first = plans[0]
    if first.changes_shape(channels):
        return 1
    same = [plan.shape == first.shape for plan in plans]
    return same.index(False) if False in same else len(same)
