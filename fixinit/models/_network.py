"""Assembles a residual network: stem, residual blocks, head."""

import re
from typing import Any

import keras

from fixinit import schemes
from fixinit._typing import Shape
from fixinit._validation import check_activation, check_choice
from fixinit.layers.stack_arguments import check_remat
from fixinit.models._blocks import Blocks
from fixinit.models._noise import check_rate
from fixinit.models._plan import BlockPlan, equal_blocks, with_sums
from fixinit.models._residual_network import ResidualNetwork
from fixinit.models._scores import in_float32
from fixinit.models._stacking import is_stacked, stack_of
from fixinit.models._subnetworks import Subnetworks
from fixinit.schemes import Scheme, Site
from fixinit.schemes.apply import Applicator, Layers

SHORTCUTS = ("A", "B", "C")


class Network:
    """A residual network of planned blocks, to which a scheme is applied.

    Args:
        scheme: `fixinit.schemes.Scheme`, which is prepared for the network.
        plans: List of `BlockPlan`s.
        channels: int, those that the stem puts out.
        input_shape: Shape of one sample, channels last. Without spatial axes the
            weight layers are `Dense`, with one to three of them convolutions.
        preactivation, shortcut, activation, dropout_rate, plain: See `Blocks`.
        seed: int or `None`, see `fixinit.schemes.apply.Applicator`.
        stacked: bool or `"auto"`. Whether consecutive blocks of one shape become one
            `fixinit.layers.Stack`: by default in networks of at least
            `STACKED_FROM` blocks, or `STACKED_FROM_ON_TORCH`.
        remat: What stacks keep for the gradient: see `fixinit.layers.Stack`.
        stem_activations: int, see `Subnetworks`.

    Raises:
        ValueError: If an argument is outside its range, or if `plain` meets branches
            that start at zero.
    """

    def __init__(
        self,
        scheme: Scheme,
        plans: list[BlockPlan],
        channels: int,
        input_shape: Shape,
        preactivation: bool,
        shortcut: str = "B",
        activation: Any = "relu",
        dropout_rate: float = 0.0,
        plain: bool = False,
        seed: int | None = None,
        stacked: bool | str = "auto",
        remat: str | int | None = None,
        stem_activations: int | None = None,
    ) -> None:
        check_choice("stacked", stacked, ("auto", True, False))
        check_choice("shortcut", shortcut, SHORTCUTS)
        check_rate("dropout_rate", dropout_rate)
        order = preactivation, shortcut, plain
        scheme = scheme.prepared(
            Subnetworks(scheme, plans, channels, *order, stem_activations)
        )
        num_branches = len(plans)
        asked = range(num_branches if scheme.depends_on_branch else 1)
        if plain and any(scheme.start(Site(i, num_branches)).is_zero for i in asked):
            raise ValueError(
                f"Argument `plain=True` needs a scheme whose branches are not zero "
                f"at initialization: without shortcuts, the network would output "
                f"zeros and never train. Received: scheme={scheme!r}. Use one of "
                f"{_not_zero()}."
            )
        activation = check_activation("activation", activation)
        self.applicator = Applicator(scheme, seed)
        self.plans, self.channels = with_sums(plans, channels), channels
        self.input_shape = tuple(input_shape)
        self.blocks = Blocks(
            self.applicator,
            num_branches,
            len(self.input_shape) - 1,
            preactivation,
            shortcut,
            activation,
            dropout_rate,
            plain,
        )
        self.stacked = stacked
        self.remat = check_remat(remat)

    def model(
        self,
        stem: Layers,
        classes: int,
        classifier_activation: Any,
        name: str,
        **head: Any,
    ) -> keras.Model:
        """The Keras model: stem, blocks, head."""
        inputs = keras.Input(self.input_shape)
        outputs = inputs
        with self.applicator.building():
            body = stem + self.body()
            for layer in body + self.head(classes, classifier_activation, **head):
                outputs = layer(outputs)
        return ResidualNetwork(inputs, outputs, name=name)

    def stem(self, filters: int, kernel_size: int, strides: int = 1) -> Layers:
        """The first weight layer and, in post-activation order, its activation."""
        site = self.blocks.site(role="stem")
        built = self.blocks.weight(
            site, filters, kernel_size, strides, "stem", prefix="stem_weight"
        )
        if not self.blocks.preactivation:
            built += self.blocks.activated(site, "stem_activation")
        return built

    def imagenet_stem(self, filters: int) -> Layers:
        """A 7-wide convolution and max pooling, each of stride 2."""
        padding, pooling = (
            getattr(keras.layers, f"{kind}{self.blocks.rank}D")
            for kind in ("ZeroPadding", "MaxPooling")
        )
        return [
            *self.stem(filters, kernel_size=7, strides=2),
            padding(1, data_format="channels_last", name="stem_pool_padding"),
            pooling(3, strides=2, data_format="channels_last", name="stem_pool"),
        ]

    def body(self) -> Layers:
        """The residual blocks; where they are stacked, one layer for equal ones."""
        built, index, plans, channels = [], 0, self.plans, self.channels
        while index < len(plans):
            run = equal_blocks(plans[index:], channels) if self.is_stacked() else 1
            if run > 1:
                built.append(self.stack(index, plans[index : index + run]))
            else:
                built.append(self.blocks.block(index, plans[index], channels))
            index += run
            channels = plans[index - 1].filters[-1]
        return built

    def is_stacked(self) -> bool:
        """Whether equal blocks become a stack."""
        return is_stacked(self.stacked, self.blocks.num_branches)

    def stack(self, branch: int, plans: list[BlockPlan]) -> keras.layers.Layer:
        """One layer for equal blocks, the first of which is number `branch`."""
        channels = plans[0].filters[-1]
        return stack_of(
            self.applicator,
            lambda index: self.blocks.block(branch + index, plans[index], channels),
            len(plans),
            differs=len({p.noise_rate for p in plans}) > 1,
            remat=self.remat,
            name=re.sub(r"\d+$", "s", plans[0].name),
        )

    def head(
        self,
        classes: int,
        classifier_activation: Any,
        final_filters: int | None = None,
        drop_rate: float = 0.0,
    ) -> Layers:
        """From the last block to the class scores.

        Args:
            classes: int.
            classifier_activation: Activation of the scores.
            final_filters: int. Channels of a pointwise weight layer in front of the
                last activation, if there is one.
            drop_rate: float. Rate of dropout in front of the classification layer.
        """
        blocks, applicator = self.blocks, self.applicator
        site = blocks.site(blocks.num_branches - 1, role="head")
        built = applicator.at("network_end", site, "network_end")
        if final_filters:
            trunk = blocks.site(blocks.num_branches - 1, role="trunk")
            built += blocks.weight(trunk, final_filters, 1, 1, "final")
        if blocks.preactivation or final_filters:
            built += blocks.activated(site, "head_activation")
        if blocks.rank:
            pooling = getattr(keras.layers, f"GlobalAveragePooling{blocks.rank}D")
            built.append(pooling(data_format="channels_last", name="pool"))
        if check_rate("drop_rate", drop_rate):
            seed = applicator.take_seed()
            built.append(
                keras.layers.Dropout(drop_rate, seed=seed, name="head_dropout")
            )
        built += applicator.at("before_weight", site, "head_weight")
        dense = keras.layers.Dense(
            classes, kernel_initializer="lecun_normal", name="head"
        )
        built.append(applicator.weight(site, dense))
        return [*built, in_float32(built[-1], classifier_activation, "predictions")]


def _not_zero() -> list[str]:
    """The names of the schemes whose branches do not start at zero."""
    names = schemes.names()
    return [name for name in names if not schemes.get(name).starts_at_identity]
