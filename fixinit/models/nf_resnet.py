"""The normalizer-free ResNets of Brock et al."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import check_choice, check_size
from fixinit.models._network import Network
from fixinit.models._normalizer_free import (
    block_plans,
    check_input_shape,
    check_stages,
    divided,
)
from fixinit.schemes.scheme import SchemeLike

# Blocks of each stage, by depth.
NF_RESNET_STAGES = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    288: (24, 24, 24, 24),
}


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
    stages, filters = check_stages(stages, filters)
    widths = [divided("filters", width, 4) for width in filters]

    def shape(stage: int, stride: int) -> dict[str, Any]:
        width = widths[stage]
        return {
            "filters": (width, width, filters[stage]),
            "kernel_sizes": (1, 3, 1),
            "strides": (1, stride, 1),
        }

    network = Network(
        scheme,
        block_plans(stages, stochastic_depth_rate, shape),
        widths[0],
        check_input_shape(input_shape),
        preactivation=True,
        activation=activation,
        seed=seed,
        stacked=stacked,
        remat=remat,
        stem_activations=0,
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
        check_size("classes", classes),
        classifier_activation,
        name or f"nf_resnet{depth}_{scheme.name}",
        drop_rate=drop_rate,
    )
