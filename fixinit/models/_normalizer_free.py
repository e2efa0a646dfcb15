"""What the normalizer-free networks of Brock et al. have in common."""

from collections.abc import Callable, Sequence
from typing import Any

from fixinit._typing import Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_positive_int,
    check_sequence,
    check_shape,
    check_size,
)
from fixinit.models._noise import check_rate
from fixinit.models._plan import BlockPlan

TOTAL_STRIDE = 32


def block_plans(
    stages: Sequence[int],
    stochastic_depth_rate: float,
    shape: Callable[[int, int], dict[str, Any]],
) -> list[BlockPlan]:
    """The plans of all blocks, dropped the more often the deeper they are.

    Args:
        stages: Sequence of ints, the blocks of each stage. All but the first halve the
            resolution in their first block.
        stochastic_depth_rate: float in `[0, 1)`. Block l of L has this times l / L.
        shape: Function from the index of a stage and the stride of a block to further
            arguments of its `BlockPlan`.
    """
    rate = check_rate("stochastic_depth_rate", stochastic_depth_rate)
    plans: list[BlockPlan] = []
    for stage, num_blocks in enumerate(stages):
        for block in range(num_blocks):
            plans.append(
                BlockPlan(
                    f"stage{stage + 1}_block{block + 1}",
                    **shape(stage, 1 if block or not stage else 2),
                    stage=stage,
                    stage_block=block,
                    same_padding=True,
                    # As in the authors' code: branches that are kept are not scaled.
                    noise="unscaled_stochastic_depth",
                    noise_rate=rate * len(plans) / sum(stages),
                )
            )
    return plans


def divided(argument: str, value: int, by: int, what: str = "each of them") -> int:
    """`value // by`; refuses what is no multiple."""
    if value % by or value < by:
        raise ValueError(
            f"Argument `{argument}`: {what} must be a multiple of {by}. Received: "
            f"{value}"
        )
    return value // by


def check_stages(stages: Any, filters: Any) -> tuple[tuple[int, ...], ...]:
    """Refuses anything but an entry for each of four stages."""
    stages = check_sequence("stages", stages, (3, 4, 6, 3))
    filters = check_sequence("filters", filters, (256, 512, 1536, 1536))
    if len(stages) != 4 or len(filters) != 4:
        raise ValueError(
            "Arguments `stages` and `filters` need one entry for each of the four "
            f"stages. Received: stages={stages}, filters={filters}"
        )
    for blocks, width in zip(stages, filters, strict=True):
        check_positive_int("stages", blocks, maximum=MOST_BRANCHES)
        check_size("filters", width)
    return stages, filters


def check_input_shape(input_shape: Any) -> Shape:
    """Refuses what is no shape of images that are large enough."""
    shape = check_shape("input_shape", input_shape, (224, 224, 3), 0)
    is_image = len(shape) == 3 and shape[-1]
    if not is_image or min(n or TOTAL_STRIDE for n in shape[:-1]) < TOTAL_STRIDE:
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), each side at "
            f"least {TOTAL_STRIDE}, the network's total stride, or None. Received: "
            f"input_shape={input_shape}"
        )
    return shape
