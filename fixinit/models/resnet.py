import math
from collections.abc import Sequence
from typing import Any

import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Identifier, Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_positive_int,
    check_sequence,
    check_shape,
    check_size,
)
from fixinit.models._network import Network
from fixinit.models._noise import with_noise
from fixinit.models._plan import BlockPlan
from fixinit.schemes.scheme import SchemeLike

BLOCKS = ("basic", "bottleneck")
STEMS = ("cifar", "imagenet")
BOTTLENECK_EXPANSION = 4


@checked_but("scheme", "stages", "filters", "input_shape")
def ResNet(
    stages: Sequence[int] = (2, 2, 1),
    filters: Sequence[int] = (16, 32, 64),
    block: str = "basic",
    scheme: SchemeLike = "fixup",
    preactivation: bool = False,
    shortcut: str = "A",
    stem: str = "cifar",
    stem_filters: int | None = None,
    kernel_size: int = 3,
    activation: Identifier = "relu",
    dropout_rate: float = 0.0,
    drop_rate: float = 0.0,
    stochastic_depth_rate: float = 0.0,
    shake_drop_rate: float = 0.0,
    plain: bool = False,
    input_shape: Shape = (32, 32, 3),
    classes: int = 10,
    classifier_activation: Identifier = None,
    seed: int | None = None,
    stacked: bool | str = "auto",
    remat: str | int | None = None,
    name: str | None = None,
) -> keras.Model:
    """A convolutional residual network of any stages, in one to three dimensions.

    The families `CifarResNet`, `ImageNetResNet`, `WideResNet` and `ResNet1D` are
    special cases. The first block of every stage but the first halves the
    resolution. Data is channels last.

    Example:

    >>> model = fixinit.models.ResNet(stages=(2, 2, 1), scheme="fixup", seed=0)
    >>> model.output_shape
    (None, 10)

    Args:
        stages: Tuple of ints. Number of residual blocks in each stage.
        filters: Tuple of ints, one per stage: width of its convolutions. A
            bottleneck block puts out four times as many channels.
        block: `"basic"` (two convolutions) or `"bottleneck"` (1x1, k x k, 1x1).
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        preactivation: bool. `False` (default) for the order of He et al. 2016a,
            `True` for that of 2016b.
        shortcut: Where a block changes the shape, `"A"` subsamples and appends
            zero channels, `"B"` projects with a 1x1 convolution. `"C"` projects
            in every block.
        stem: `"cifar"`, one convolution of `kernel_size`, or `"imagenet"`, a
            convolution of size 7 and stride 2 and max pooling of stride 2.
        stem_filters: int. Channels of the stem, `filters[0]` by default.
        kernel_size: int, odd. Size of the blocks' convolutions.
        activation: Keras activation. The schemes are derived for `"relu"`.
        dropout_rate: float in `[0, 1)`. Dropout in front of every weight layer
            of a branch but the first.
        drop_rate: float in `[0, 1)`. Dropout in front of the classification layer.
        stochastic_depth_rate: float in `[0, 1)`. In training, block l of L loses its
            branch with this times l / L as probability, sample by sample; branches that
            are kept are scaled so that the mean stays.
        shake_drop_rate: float in `[0, 1)`. The same for `fixinit.layers.ShakeDrop` in
            the place of stochastic depth.
        plain: bool. `True` leaves every shortcut out.
        input_shape: Tuple `(*space, channels)` with one to three spatial axes,
            each at least the network's total stride, or `None`. The model takes
            floating-point inputs, meant to be standardized, and refuses integers.
        classes: int. Number of classes.
        classifier_activation: Activation of the class scores. By default none:
            the model returns logits.
        seed: int. The same seed gives the same weights, bit for bit. By default
            a random one, which `keras.utils.set_random_seed` determines.
        stacked: bool or `"auto"`. `True` makes one `fixinit.layers.Stack` of equal
            consecutive blocks, which builds and compiles in constant time and holds
            each weight of all blocks in one variable. `"auto"` (default) does so in
            networks of 50 or more blocks, on PyTorch of 500 or more. The same seed
            gives the same weights either way.
        remat: What a stack keeps for the gradient: `None` (default), `"sqrt"`,
            `"block"` or an integer, see `fixinit.layers.Stack`.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range.

    References:

    - [He et al., 2016a](https://arxiv.org/abs/1512.03385)
    - [He et al., 2016b](https://arxiv.org/abs/1603.05027)
    """
    scheme = schemes.get(scheme)
    stages, filters = _check_stages(stages, filters)
    check_choice("block", block, BLOCKS)
    check_choice("stem", stem, STEMS)
    check_size("classes", classes)
    check_size("kernel_size", kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(
            "Argument `kernel_size` must be odd, so that a convolution has a "
            f"centre. Received: kernel_size={kernel_size}"
        )
    input_shape = _check_input_shape(input_shape, len(stages), stem)
    channels = filters[0]
    if stem_filters is not None:
        channels = check_size("stem_filters", stem_filters)
    plans = _plans(stages, filters, block, kernel_size)
    plans = with_noise(plans, stochastic_depth_rate, shake_drop_rate, plain)
    network = Network(
        scheme,
        plans,
        channels,
        input_shape=input_shape,
        preactivation=preactivation,
        shortcut=shortcut,
        activation=activation,
        dropout_rate=dropout_rate,
        plain=plain,
        seed=seed,
        stacked=stacked,
        remat=remat,
    )
    if stem == "imagenet":
        stem_layers = network.imagenet_stem(channels)
    else:
        stem_layers = network.stem(channels, kernel_size)
    return network.model(
        stem_layers,
        classes,
        classifier_activation,
        name or f"resnet_{scheme.name}",
        drop_rate=drop_rate,
    )


def _plans(
    stages: Sequence[int], filters: Sequence[int], block: str, kernel_size: int
) -> list[BlockPlan]:
    plans = []
    for stage, (num_blocks, width) in enumerate(zip(stages, filters, strict=True)):
        for index in range(num_blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            name = f"stage{stage + 1}_block{index + 1}"
            if block == "basic":
                widths: tuple[int, ...] = (width, width)
                sizes: tuple[int, ...] = (kernel_size, kernel_size)
                strides: tuple[int, ...] = (stride, 1)
            else:
                # The stride sits in the middle convolution, as in the Fixup
                # authors' code and in every current implementation.
                widths = (width, width, BOTTLENECK_EXPANSION * width)
                sizes, strides = (1, kernel_size, 1), (1, stride, 1)
            plans.append(BlockPlan(name, widths, sizes, strides, stage, index))
    return plans


def _check_stages(stages: Any, filters: Any) -> tuple[Sequence[int], Sequence[int]]:
    stages = check_sequence("stages", stages, "(2, 2, 2)")
    filters = check_sequence("filters", filters, "(16, 32, 64)")
    if not stages or len(stages) != len(filters):
        raise ValueError(
            "Arguments `stages` and `filters` need one entry per stage, and at "
            f"least one stage. Received: stages={stages}, filters={filters}"
        )
    for num_blocks, width in zip(stages, filters, strict=True):
        check_positive_int("stages", num_blocks, maximum=MOST_BRANCHES)
        # A bottleneck puts out as many times more channels.
        check_size("filters", BOTTLENECK_EXPANSION * check_size("filters", width))
    return stages, filters


def _check_input_shape(input_shape: Any, num_stages: int, stem: str) -> Shape:
    input_shape = check_shape("input_shape", input_shape, "(32, 32, 3)", 0)
    if not 2 <= len(input_shape) <= 4 or not input_shape[-1]:
        raise ValueError(
            "Argument `input_shape` must be (*space, channels) with one to three "
            "spatial axes and a fixed number of channels, such as (32, 32, 3). "
            f"Received: input_shape={input_shape}. Data without spatial axes "
            "goes into a ResidualMLP."
        )
    total_stride = 2 ** (num_stages - 1) * (4 if stem == "imagenet" else 1)
    smallest = min((n for n in input_shape[:-1] if n is not None), default=math.inf)
    if smallest < total_stride:
        raise ValueError(
            f"Argument `input_shape`: every spatial axis must be at least "
            f"{total_stride}, the network's total stride. Received: "
            f"input_shape={input_shape}. Use larger inputs or fewer stages."
        )
    return input_shape
