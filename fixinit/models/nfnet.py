"""NFNets: the F series of Brock et al."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import check_choice, check_number, check_size
from fixinit.layers import gelu_tanh
from fixinit.models._network import Network
from fixinit.models._normalizer_free import (
    block_plans,
    check_input_shape,
    check_stages,
    divided,
)
from fixinit.schemes.scheme import SchemeLike

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
_STEM_ACTIVATIONS = 3


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
    stages, filters = check_stages(stages, filters)
    check_number("gate_ratio", gate_ratio, "a number in (0, 1]", lambda x: 0 < x <= 1)
    widths = [divided("filters", width, 2) for width in filters]
    for width in widths:
        divided("filters", width, group_size, "each stage's bottleneck, half of it,")

    def shape(stage: int, stride: int) -> dict[str, Any]:
        width, groups = widths[stage], widths[stage] // group_size
        return {
            "filters": (width, width, width, filters[stage]),
            "kernel_sizes": (1, 3, 3, 1),
            "strides": (1, stride, 1, 1),
            "groups": (1, groups, groups, 1),
            "pooled_shortcut": True,
            "gate_units": max(1, int(filters[stage] * gate_ratio)),
        }

    network = Network(
        scheme,
        block_plans(stages, stochastic_depth_rate, shape),
        widths[0],
        check_input_shape(input_shape or (resolution, resolution, 3)),
        preactivation=True,
        activation=activation,
        seed=seed,
        stacked=stacked,
        remat=remat,
        stem_activations=_STEM_ACTIVATIONS,
    )
    rate = variant_drop_rate if drop_rate is None else drop_rate
    return network.model(
        _nfnet_stem(network, widths[0]),
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
