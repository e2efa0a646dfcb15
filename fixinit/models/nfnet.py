"""The normalizer-free networks of Brock et al. for images."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_number,
    check_positive_int,
    check_sequence,
    check_shape,
    check_size,
)
from fixinit.layers import gelu_tanh
from fixinit.models._network import Network
from fixinit.models._noise import check_rate
from fixinit.models._plan import BlockPlan
from fixinit.models._subnetworks import Subnetworks
from fixinit.schemes.scheme import SchemeLike

# Blocks of each stage, by depth.
NF_RESNET_STAGES = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    288: (24, 24, 24, 24),
}
# (resolution in training, resolution at test time, dropout rate), by variant. F0 has
# stages of 1, 2, 6 and 3 blocks, Fn of n + 1 times as many.
NFNET_VARIANTS = {
    "F0": (192, 256, 0.2),
    "F1": (224, 320, 0.3),
    "F2": (256, 352, 0.4),
    "F3": (320, 416, 0.4),
    "F4": (384, 512, 0.5),
    "F5": (416, 544, 0.5),
    "F6": (448, 576, 0.5),
    "F7": (480, 608, 0.5),
}
NFNET_STAGES = (1, 2, 6, 3)
TOTAL_STRIDE = 32
_STEM_ACTIVATIONS = 3
_NOISE = "unscaled_stochastic_depth"


@checked_but("scheme", "stages", "filters", "input_shape")
def NFResNet(
    depth: int = 50,
    scheme: SchemeLike = "normalizer_free",
    stages: Sequence[int] | None = None,
    filters: Sequence[int] = (256, 512, 1024, 2048),
    activation: Identifier = "relu",
    drop_rate: float = 0.0,
    stochastic_depth_rate: float = 0.1,
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    classifier_activation: Identifier = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """The normalizer-free ResNets: bottlenecks in pre-activation order.

    Strided convolutions and pooling pad as TensorFlow does, the stem among them.

    Example:

    >>> model = fixinit.models.NFResNet(50, input_shape=(64, 64, 3), classes=10)
    >>> model.output_shape
    (None, 10)

    Args:
        depth: int. 50, 101, 152, 200 or 288.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        stages: Tuple of ints, the blocks in each of four stages, in the place of those
            that belong to `depth`.
        filters: Tuple of ints, one per stage: channels that its blocks put out, four
            times the width of a bottleneck. A quarter of the first is that of the stem.
        activation: Keras activation.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer.
        stochastic_depth_rate: float in `[0, 1)`. Block l of L is dropped with this
            times l / L, by sample, without rescaling the others.
        input_shape: Tuple `(height, width, channels)`, each side at least 32, or
            `None`.
        classes: int. Number of classes.
        classifier_activation: Activation of the class scores, none by default.
        seed: int. See `fixinit.models.ResNet`.
        stacked: bool or `"auto"`. See `fixinit.models.ResNet`.
        remat: See `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2101.08692)
    """
    scheme = schemes.get(scheme)
    if stages is None:
        check_choice("depth", depth, list(NF_RESNET_STAGES))
        stages = NF_RESNET_STAGES[depth]
    stages, filters = _check_stages(stages, filters)
    widths = [_divided("filters", width, 4) for width in filters]
    plans = []
    for index, stage, stage_block in _places(stages):
        width = widths[stage]
        plans.append(
            BlockPlan(
                f"stage{stage + 1}_block{stage_block + 1}",
                (width, width, filters[stage]),
                (1, 3, 1),
                (1, _stride(stage, stage_block), 1),
                stage,
                stage_block,
                same_padding=True,
                noise=_NOISE,
                noise_rate=_noise_rate(stochastic_depth_rate, index, stages),
            )
        )
    order = True, "B", False
    scheme = scheme.prepared(Subnetworks(scheme, plans, widths[0], *order))
    network = Network(
        scheme,
        num_branches=len(plans),
        input_shape=_check_input_shape(input_shape),
        preactivation=True,
        activation=activation,
        seed=seed,
        stacked=stacked,
        remat=remat,
    )
    site = network.blocks.site(role="stem")
    pooling = keras.layers.MaxPooling2D(
        3, strides=2, padding="same", data_format="channels_last", name="stem_pool"
    )
    stem = network.blocks.weight(
        site, widths[0], 7, 2, "stem", prefix="stem_weight", same_padding=True
    )
    return network.model(
        [*stem, pooling],
        widths[0],
        plans,
        check_size("classes", classes),
        classifier_activation,
        name or f"nf_resnet{depth}_{scheme.name}",
        drop_rate=drop_rate,
    )


@checked_but("scheme", "stages", "filters", "input_shape")
def NFNet(
    variant: str = "F0",
    scheme: SchemeLike = "normalizer_free",
    stages: Sequence[int] | None = None,
    filters: Sequence[int] = (256, 512, 1536, 1536),
    group_size: int = 128,
    gate_ratio: float = 0.5,
    activation: Identifier = gelu_tanh,
    drop_rate: float | None = None,
    stochastic_depth_rate: float = 0.1,
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Identifier = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """The F series of normalizer-free networks: NFNets.

    Blocks of a 1x1, two grouped 3x3 and a 1x1 convolution, squeeze-and-excitation, and
    shortcuts that average neighbours where the resolution halves.

    Example:

    >>> model = fixinit.models.NFNet(
    ...     stages=(1, 1, 1, 1), filters=(16, 32, 48, 48), group_size=8,
    ...     input_shape=(64, 64, 3), classes=10,
    ... )
    >>> model.output_shape
    (None, 10)

    Args:
        variant: String, `"F0"` to `"F7"`. It says how many blocks there are, the
            dropout and the resolution.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        stages: Tuple of ints, the blocks in each of four stages, in the place of those
            that belong to `variant`.
        filters: Tuple of ints, one per stage: channels that its blocks put out.
        group_size: int. Channels of a group of the 3x3 convolutions.
        gate_ratio: float in (0, 1]. Hidden units of squeeze-and-excitation by the
            channels that a block puts out.
        activation: Keras activation, GELU in its tanh form by default.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer, by
            default that of the variant.
        stochastic_depth_rate: float in `[0, 1)`. Block l of L is dropped with this
            times l / L, by sample, without rescaling the others.
        input_shape: Tuple `(height, width, channels)`, each side at least 32, or
            `None`. By default the variant's resolution in training, with three
            channels.
        classes: int. Number of classes.
        classifier_activation: Activation of the class scores, none by default.
        seed: int. See `fixinit.models.ResNet`.
        stacked: bool or `"auto"`. See `fixinit.models.ResNet`.
        remat: See `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range, or `group_size` does not divide
            the widths.

    Reference:

    - [Brock et al., 2021](https://arxiv.org/abs/2102.06171)
    """
    scheme = schemes.get(scheme)
    check_choice("variant", variant, list(NFNET_VARIANTS))
    resolution, _, variant_drop_rate = NFNET_VARIANTS[variant]
    if stages is None:
        times = list(NFNET_VARIANTS).index(variant) + 1
        stages = tuple(times * blocks for blocks in NFNET_STAGES)
    stages, filters = _check_stages(stages, filters)
    check_number("gate_ratio", gate_ratio, "a number in (0, 1]", lambda x: 0 < x <= 1)
    widths = [_divided("filters", width, 2) for width in filters]
    for width in widths:
        _divided("filters", width, group_size, "each stage's bottleneck, half of it,")
    plans = []
    for index, stage, stage_block in _places(stages):
        width, groups = widths[stage], widths[stage] // group_size
        plans.append(
            BlockPlan(
                f"stage{stage + 1}_block{stage_block + 1}",
                (width, width, width, filters[stage]),
                (1, 3, 3, 1),
                (1, _stride(stage, stage_block), 1, 1),
                stage,
                stage_block,
                groups=(1, groups, groups, 1),
                same_padding=True,
                pooled_shortcut=True,
                gate_units=max(1, int(filters[stage] * gate_ratio)),
                noise=_NOISE,
                noise_rate=_noise_rate(stochastic_depth_rate, index, stages),
            )
        )
    order = True, "B", False
    scheme = scheme.prepared(
        Subnetworks(scheme, plans, widths[0], *order, _STEM_ACTIVATIONS)
    )
    network = Network(
        scheme,
        num_branches=len(plans),
        input_shape=_check_input_shape(input_shape or (resolution, resolution, 3)),
        preactivation=True,
        activation=activation,
        seed=seed,
        stacked=stacked,
        remat=remat,
    )
    rate = variant_drop_rate if drop_rate is None else drop_rate
    return network.model(
        _nfnet_stem(network, widths[0]),
        widths[0],
        plans,
        check_size("classes", classes),
        classifier_activation,
        name or f"nfnet_{variant.lower()}_{scheme.name}",
        final_filters=2 * filters[-1],
        drop_rate=rate,
    )


def _nfnet_stem(network: Network, channels: int) -> list[keras.layers.Layer]:
    """Four 3x3 convolutions, the first and the last of stride 2."""
    built, blocks = [], network.blocks
    sizes = zip((16, 32, 64, channels), (2, 1, 1, 2), strict=True)
    for index, (filters, stride) in enumerate(sizes, start=1):
        site = blocks.site(role="stem" if index == 1 else "trunk")
        name = f"stem{index}"
        built += blocks.weight(site, filters, 3, stride, name, same_padding=True)
        if index <= _STEM_ACTIVATIONS:
            built += blocks.activated(site, f"{name}_activation")
    return built


def _places(stages: Sequence[int]) -> list[tuple[int, int, int]]:
    """`(index, stage, stage_block)` of every block."""
    places = [(stage, block) for stage, n in enumerate(stages) for block in range(n)]
    return [(index, *place) for index, place in enumerate(places)]


def _stride(stage: int, stage_block: int) -> int:
    return 2 if stage and not stage_block else 1


def _noise_rate(rate: float, index: int, stages: Sequence[int]) -> float:
    return check_rate("stochastic_depth_rate", rate) * index / sum(stages)


def _divided(argument: str, value: int, by: int, what: str = "each of them") -> int:
    if value % by or value < by:
        raise ValueError(
            f"Argument `{argument}`: {what} must be a multiple of {by}. Received: "
            f"{value}"
        )
    return value // by


def _check_stages(stages: Any, filters: Any) -> tuple[tuple[int, ...], ...]:
    stages = check_sequence("stages", stages, NFNET_STAGES)
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


def _check_input_shape(input_shape: Any) -> Shape:
    shape = check_shape("input_shape", input_shape, (224, 224, 3), 0)
    is_image = len(shape) == 3 and shape[-1]
    if not is_image or min(n or TOTAL_STRIDE for n in shape[:-1]) < TOTAL_STRIDE:
        raise ValueError(
            "Argument `input_shape` must be (height, width, channels), each side at "
            f"least {TOTAL_STRIDE}, the network's total stride, or None. Received: "
            f"input_shape={input_shape}"
        )
    return shape
