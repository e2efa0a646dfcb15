"""The families of the literature, each a special case of `ResNet`."""

from collections.abc import Sequence
from typing import Any

import keras

from fixinit import schemes
from fixinit._checked import checked_but
from fixinit._typing import Shape
from fixinit._validation import (
    MOST_BRANCHES,
    check_choice,
    check_positive_int,
    check_shape,
    check_size,
)
from fixinit.models.resnet import ResNet
from fixinit.schemes.scheme import SchemeLike

IMAGENET_STAGES = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}


@checked_but("scheme", "input_shape")
def CifarResNet(
    depth: int = 56,
    block: str = "basic",
    scheme: SchemeLike = "fixup",
    shortcut: str = "A",
    input_shape: Shape = (32, 32, 3),
    name: str | None = None,
    **kwargs: Any,
) -> keras.Model:
    """The residual networks of He et al. for 32 x 32 images.

    Three stages of 16, 32 and 64 filters. With the defaults and
    `scheme="fixup"` it is the network of the Fixup authors' CIFAR code.

    Example:

    >>> model = fixinit.models.CifarResNet(depth=20, scheme="fixup", seed=0)
    >>> model.count_params()
    268393

    Args:
        depth: int. Number of weight layers on the longest path: `6n + 2` with
            basic blocks (20, 32, 44, 56, 110, 1202), `9n + 2` with bottlenecks.
        block: `"basic"` or `"bottleneck"`.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        shortcut: `"A"` (the papers' choice), `"B"` or `"C"`: see `ResNet`.
        input_shape: Tuple `(height, width, channels)`.
        name: Name of the model.
        **kwargs: Any other argument of `fixinit.models.ResNet`, such as
            `preactivation`, `plain`, `classes`, `classifier_activation`, `seed`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the family has no such depth: the message names the two
            nearest that it has.

    References:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385), section 4.2.
    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
    """
    check_choice("block", block, ("basic", "bottleneck"))
    step = 6 if block == "basic" else 9
    _check_arithmetic_depth(depth, step, 2, f"with {block} blocks")
    return ResNet(
        stages=(depth // step,) * 3,
        filters=(16, 32, 64),
        block=block,
        scheme=scheme,
        shortcut=shortcut,
        input_shape=input_shape,
        name=name or _name("cifar_resnet", depth, scheme),
        **kwargs,
    )


@checked_but("scheme", "input_shape")
def ImageNetResNet(
    depth: int = 50,
    scheme: SchemeLike = "fixup",
    shortcut: str = "B",
    input_shape: Shape = (224, 224, 3),
    classes: int = 1000,
    name: str | None = None,
    **kwargs: Any,
) -> keras.Model:
    """The residual networks of He et al. for ImageNet.

    Four stages of 64, 128, 256 and 512 filters behind a stem of total stride 4.
    Bottlenecks have their stride in the 3x3 convolution (called v1.5).

    Example:

    >>> model = fixinit.models.ImageNetResNet(
    ...     depth=18, scheme="batch_norm", input_shape=(64, 64, 3), classes=100
    ... )
    >>> model.output_shape
    (None, 100)

    Args:
        depth: int. 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        shortcut: `"A"`, `"B"` (the papers' choice) or `"C"`: see `ResNet`.
        input_shape: Tuple `(height, width, channels)`, each side at least 32.
        classes: int. Number of classes.
        name: Name of the model.
        **kwargs: Any other argument of `fixinit.models.ResNet`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the family has no such depth: the message names the two
            nearest that it has.

    References:

    - [He et al., 2016](https://arxiv.org/abs/1512.03385), table 1.
    - [Zhang, Dauphin and Ma, 2019](https://arxiv.org/abs/1901.09321), section 4.
    """
    _check_depth(depth, list(IMAGENET_STAGES), "18, 34, 50, 101 or 152")
    block, stages = IMAGENET_STAGES[depth]
    return ResNet(
        stages=stages,
        filters=(64, 128, 256, 512),
        block=block,
        scheme=scheme,
        shortcut=shortcut,
        stem="imagenet",
        input_shape=input_shape,
        classes=classes,
        name=name or _name("imagenet_resnet", depth, scheme),
        **kwargs,
    )


@checked_but("scheme", "input_shape")
def WideResNet(
    depth: int = 28,
    widen_factor: int = 10,
    scheme: SchemeLike = "fixup",
    preactivation: bool = True,
    shortcut: str = "B",
    input_shape: Shape = (32, 32, 3),
    name: str | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Wide residual networks: fewer blocks of more filters.

    Three stages of 16, 32 and 64 times `widen_factor` filters, basic blocks,
    pre-activation order. WRN-28-10 is `WideResNet(28, 10)`.

    Example:

    >>> model = fixinit.models.WideResNet(depth=10, widen_factor=2, seed=0)
    >>> model.output_shape
    (None, 10)

    Args:
        depth: int. Number of convolutions as the paper counts them: `6n + 4`.
        widen_factor: int. Factor of the width of every block (k).
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        preactivation: bool. `True`, the paper's order, by default.
        shortcut: `"A"`, `"B"` (the paper's choice) or `"C"`: see `ResNet`.
        input_shape: Tuple `(height, width, channels)`.
        name: Name of the model.
        **kwargs: Any other argument of `fixinit.models.ResNet`, such as
            `dropout_rate`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If the family has no such depth: the message names the two
            nearest that it has.

    Reference:

    - [Zagoruyko and Komodakis, 2016](https://arxiv.org/abs/1605.07146)
    """
    _check_arithmetic_depth(depth, 6, 4, "with basic blocks")
    check_size("widen_factor", 64 * check_size("widen_factor", widen_factor))
    return ResNet(
        stages=(depth // 6,) * 3,
        filters=tuple(width * widen_factor for width in (16, 32, 64)),
        block="basic",
        scheme=scheme,
        preactivation=preactivation,
        shortcut=shortcut,
        stem_filters=16,
        input_shape=input_shape,
        name=name or _name("wide_resnet", f"{depth}_{widen_factor}", scheme),
        **kwargs,
    )


@checked_but("scheme", "stages", "filters", "input_shape")
def ResNet1D(
    stages: Sequence[int] = (2, 2, 2),
    filters: Sequence[int] = (64, 128, 256),
    scheme: SchemeLike = "fixup",
    shortcut: str = "B",
    input_shape: Shape = (40, 1),
    name: str | None = None,
    **kwargs: Any,
) -> keras.Model:
    """A residual network for sequences.

    Example:

    >>> model = fixinit.models.ResNet1D(input_shape=(1000, 12), classes=5)
    >>> model.output_shape
    (None, 5)

    Args:
        stages: Tuple of ints. Number of residual blocks in each stage.
        filters: Tuple of ints, one per stage.
        scheme: Name, config or instance: see `fixinit.schemes.get`.
        shortcut: `"A"`, `"B"` (default) or `"C"`: see `ResNet`.
        input_shape: Tuple `(length, channels)`. `length` may be `None`.
        name: Name of the model.
        **kwargs: Any other argument of `fixinit.models.ResNet`, such as
            `kernel_size`, `preactivation`, `classes`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: If an argument is outside its range.

    Reference:

    - [Wang, Yan and Oates, 2017](https://arxiv.org/abs/1611.06455)
    """
    if len(check_shape("input_shape", input_shape, "(40, 1)", 0)) != 2:
        raise ValueError(
            "Argument `input_shape` of ResNet1D must be (length, channels). "
            f"Received: input_shape={tuple(input_shape)}"
        )
    return ResNet(
        stages=stages,
        filters=filters,
        scheme=scheme,
        shortcut=shortcut,
        input_shape=input_shape,
        name=name or f"resnet1d_{schemes.get(scheme).name}",
        **kwargs,
    )


def _check_arithmetic_depth(depth: int, step: int, offset: int, blocks: str) -> None:
    """Refuses a depth that is not `step * n + offset`, n at least 1."""
    check_positive_int("depth", depth, maximum=MOST_BRANCHES)
    n = max(1, (depth - offset) // step)
    neighbours = [step * n + offset, step * (n + 1) + offset]
    _check_depth(depth, neighbours, f"{step}n + {offset} {blocks}")


def _check_depth(depth: int, depths: list[int], rule: str) -> None:
    check_positive_int("depth", depth, maximum=MOST_BRANCHES)
    if depth not in depths:
        nearest = sorted(sorted(depths, key=lambda other: abs(other - depth))[:2])
        raise ValueError(
            f"Argument `depth` must be {rule}. The nearest are {nearest[0]} and "
            f"{nearest[1]}. Received: depth={depth}"
        )


def _name(family: str, size: int | str, scheme: SchemeLike) -> str:
    return f"{family}{size}_{schemes.get(scheme).name}"
