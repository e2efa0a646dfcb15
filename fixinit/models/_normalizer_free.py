"""What the normalizer-free networks of Brock et al. have in common."""

from collections.abc import Sequence
from typing import Any

from fixinit._typing import Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_positive_int,
    check_sequence,
    check_shape,
    check_size,
)
from fixinit.models._network import Network
from fixinit.models._noise import check_rate
from fixinit.models._plan import BlockPlan
from fixinit.models._subnetworks import Subnetworks
from fixinit.schemes import Scheme

TOTAL_STRIDE = 32
NOISE = "unscaled_stochastic_depth"


def network_of(
    scheme: Scheme,
    plans: list[BlockPlan],
    channels: int,
    input_shape: Shape,
    stem_activations: int = 0,
    **options: Any,
) -> tuple[Scheme, Network]:
    """The scheme, prepared for the blocks, and the network that it is applied to.

    Args:
        scheme: `fixinit.schemes.Scheme`.
        plans: List of `BlockPlan`s.
        channels: int, of what the first block reads.
        input_shape: Shape of one sample.
        stem_activations: int. Number of activations in the stem.
        **options: Further arguments of `Network`.
    """
    order = True, "B", False
    subnetworks = Subnetworks(scheme, plans, channels, *order, stem_activations)
    scheme = scheme.prepared(subnetworks)
    network = Network(
        scheme,
        num_branches=len(plans),
        input_shape=check_input_shape(input_shape),
        preactivation=True,
        **options,
    )
    return scheme, network


def places(stages: Sequence[int]) -> list[tuple[int, int, int]]:
    """`(index, stage, stage_block)` of every block."""
    found = [(stage, block) for stage, n in enumerate(stages) for block in range(n)]
    return [(index, *place) for index, place in enumerate(found)]


def stride_of(stage: int, stage_block: int) -> int:
    """The stride of a block: 2 where a stage begins, but for the first."""
    return 2 if stage and not stage_block else 1


def noise_rate(rate: float, index: int, stages: Sequence[int]) -> float:
    """The rate of stochastic depth of block `index`: it grows linearly from 0."""
    return check_rate("stochastic_depth_rate", rate) * index / sum(stages)


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
