"""Networks by name, counted in weight layers, and data in the shape they take."""

import dataclasses
from collections.abc import Callable

from fixinit import models
from fixinit._validation import check_choice


def residual_mlp(data, num_blocks, units, **kwargs):
    """A `fixinit.models.ResidualMLP` for a data set of vectors.

    Args:
        data: `recipes.common.data.datasets.Dataset`, as `Family.adapt` returns it.
        num_blocks, units: ints.
        **kwargs: Further arguments of the model.
    """
    return models.ResidualMLP(
        num_blocks,
        units,
        input_shape=data.input_shape,
        classes=data.num_classes,
        **kwargs,
    )


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of networks whose depth is `step * n + offset` weight layers.

    Attributes:
        name: What `--model` calls it.
        step: int. Weight layers that one more block per stage adds.
        offset: int. Weight layers outside the blocks, as the papers count them.
        units: int. Default width: that of the first stage.
        depths: Default depths of a comparison.
        quick_depths: The same for `--quick`.
        builder: Callable `(depth, units, **kwargs) -> keras.Model`.
        input_rank: int. Number of axes of one sample.
        predictable: bool. Whether its blocks are those that
            `Scheme.predicted_variance` describes: pre-activation, all of a shape.
    """

    name: str
    step: int
    offset: int
    units: int
    depths: tuple
    quick_depths: tuple
    builder: Callable
    input_rank: int
    predictable: bool = False

    def num_blocks(self, depth):
        """The number of residual blocks at a depth that the family has."""
        n, remainder = divmod(depth - self.offset, self.step)
        if n < 1 or remainder:
            n = max(n, 1)
            nearest = [self.step * k + self.offset for k in (n, n + 1)]
            raise ValueError(
                f"{self.name} has {self.step}n + {self.offset} weight layers, so no "
                f"depth {depth}. The nearest are {nearest[0]} and {nearest[1]}."
            )
        # Every block of these families has two weight layers.
        return (depth - self.offset) // 2

    def build(self, depth, units, data, scheme, seed):
        """The network of this depth for a data set that `adapt` returned."""
        return self.builder(
            depth,
            units,
            scheme=scheme,
            seed=seed,
            input_shape=data.input_shape,
            classes=data.num_classes,
        )

    def adapt(self, data):
        """The data set with samples in the shape that the networks take."""
        shape = data.input_shape
        if self.input_rank == 1:
            shape = (-1,)
        elif self.input_rank == 2 and len(shape) == 1:
            shape = (*shape, 1)
        elif len(shape) != self.input_rank:
            wanted = "sequences" if self.input_rank == 2 else "images"
            fitting = "cifar_resnet or wide_resnet" if len(shape) == 3 else "resnet1d"
            raise ValueError(
                f"--model={self.name} takes {wanted}, but one sample of "
                f"--dataset={data.name} has the shape {tuple(shape)}. Use "
                f"--model=residual_mlp, which takes any, or {fitting}."
            )
        return dataclasses.replace(
            data,
            x_train=data.x_train.reshape(len(data.x_train), *shape),
            x_test=data.x_test.reshape(len(data.x_test), *shape),
        )


def _residual_mlp(depth, units, **kwargs):
    return models.ResidualMLP((depth - 2) // 2, units, **kwargs)


def _resnet1d(depth, units, **kwargs):
    stages = ((depth - 2) // 6,) * 3
    return models.ResNet1D(stages, (units, 2 * units, 4 * units), **kwargs)


def _cifar_resnet(depth, units, **kwargs):
    if units != 16:
        raise ValueError(
            f"cifar_resnet starts with 16 units. Received: --units={units}. For "
            "others take --model=wide_resnet."
        )
    return models.CifarResNet(depth, **kwargs)


def _wide_resnet(depth, units, **kwargs):
    if units % 16:
        raise ValueError(
            "wide_resnet takes multiples of 16 units (16 times the widen factor). "
            f"Received: --units={units}"
        )
    return models.WideResNet(depth, units // 16, **kwargs)


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "residual_mlp",
            step=2,
            offset=2,
            units=64,
            depths=(10, 26, 74),
            quick_depths=(6, 10),
            builder=_residual_mlp,
            input_rank=1,
            predictable=True,
        ),
        Family("resnet1d", 6, 2, 16, (8, 20, 44), (8, 14), _resnet1d, 2),
        Family("cifar_resnet", 6, 2, 16, (8, 20, 44), (8, 14), _cifar_resnet, 3),
        Family("wide_resnet", 6, 4, 32, (10, 16, 28), (10, 16), _wide_resnet, 3),
    )
}


def get(name):
    """The family of that name; an unknown one is a `ValueError` that lists them."""
    return FAMILIES[check_choice("model", name, FAMILIES)]
