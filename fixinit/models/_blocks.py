"""Residual blocks: a plan's layers with a scheme applied."""

import dataclasses
from typing import Any

import keras

from fixinit import layers
from fixinit.layers.shortcuts import convolution_class
from fixinit.models._gates import squeeze_excitation
from fixinit.models._noise import NOISES
from fixinit.models._plan import BlockPlan
from fixinit.schemes import Site
from fixinit.schemes.apply import Applicator, Layers

# What networks of ReLUs draw kernels by, where the scheme leaves it to them.
OWN_DRAW = "he_normal"


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What all blocks of one network have in common.

    Attributes:
        applicator: `fixinit.schemes.apply.Applicator`.
        num_branches: int. Number of residual branches.
        rank: int. Number of spatial axes: without any, weight layers are `Dense`.
        preactivation: bool. Order of activation and weight layer in a branch.
        shortcut: `"A"`, `"B"` or `"C"`, the options of He et al. 2016: append
            zero channels, project where the shape changes, project everywhere.
        activation: Keras activation.
        dropout_rate: float. Dropout in front of every weight layer of a branch
            but the first.
        plain: bool. Leave the shortcuts out, and the merges with them.
    """

    applicator: Applicator
    num_branches: int
    rank: int
    preactivation: bool
    shortcut: str
    activation: Any
    dropout_rate: float
    plain: bool

    def site(self, branch: int = 0, depth: int = 1, **place: Any) -> Site:
        """The site of a layer of this network."""
        return Site(
            branch,
            self.num_branches,
            branch_depth=depth,
            preactivation=self.preactivation,
            **place,
        )

    def block(self, branch: int, plan: BlockPlan, channels: int) -> keras.layers.Layer:
        """One residual block on inputs with `channels` channels."""
        depth = len(plan.filters)
        place = {
            "stage": plan.stage,
            "stage_block": plan.stage_block,
            "changes_shape": plan.changes_shape(channels),
            "stream_sums": plan.stream_sums,
        }
        sites = [self.site(branch, depth, layer=i, **place) for i in range(depth)]
        shortcut, shared_layers = self._shortcut(sites[0], plan, channels)
        after_merge, activation = self._end(sites[-1])
        return layers.ResidualBlock(
            branch=self._branch(sites, plan),
            shortcut=shortcut,
            merge=self.applicator.merge(sites[-1]),
            activation=activation,
            after_merge=after_merge,
            shared_layers=shared_layers,
            plain=self.plain,
            name=plan.name,
        )

    def _end(self, site: Site) -> tuple[Layers, Any]:
        """What stands behind the merge: layers, and the activation if it is plain."""
        after_merge = self.applicator.at("after_merge", site, "merge")
        if self.preactivation:
            return after_merge, None
        plain = keras.layers.Activation(self.activation, name="activation")
        activation = self.applicator.activation(site, plain)
        if activation is plain:
            return after_merge, self.activation
        return [*after_merge, activation], None

    def _branch(self, sites: list[Site], plan: BlockPlan) -> Layers:
        """Weight layers with activations before (pre) or between (post) them."""
        built = self.applicator.at("branch_start", sites[0], "branch")
        for site in sites:
            index = site.layer + 1
            if self.preactivation:
                built += self.activated(site, f"activation{index}")
            if self.dropout_rate and site.layer > 0:
                seed, name = self.applicator.take_seed(), f"dropout{index}"
                dropout = keras.layers.Dropout(self.dropout_rate, seed=seed, name=name)
                built.append(dropout)
            built += self.weight(
                site,
                plan.filters[site.layer],
                plan.kernel_sizes[site.layer],
                plan.strides[site.layer],
                f"weight{index}",
                groups=plan.groups[site.layer] if plan.groups else 1,
                same_padding=plan.same_padding,
            )
            if not self.preactivation and not site.is_last:
                built += self.activated(site, f"activation{index}")
        built += self._gate(plan)
        built += self.applicator.at("branch_end", sites[-1], "branch")
        return built + self._noise(plan)

    def _gate(self, plan: BlockPlan) -> Layers:
        """Squeeze-and-excitation behind the last weight layer, if the plan has it."""
        if not plan.gate_units:
            return []
        seeds = [self.applicator.take_seed() for _ in range(2)]
        shape = (*self.rank * [None], plan.filters[-1])
        return [squeeze_excitation(shape, plan.gate_units, seeds, plan.name)]

    def _noise(self, plan: BlockPlan) -> Layers:
        """What distorts the branch, behind all else: schemes may normalize there."""
        if plan.noise is None or not plan.noise_rate:
            return []
        return [NOISES[plan.noise](plan.noise_rate, self.applicator.take_seed())]

    def _shortcut(
        self, site: Site, plan: BlockPlan, channels: int
    ) -> tuple[Layers, int]:
        """The shortcut's layers, and how many of the branch's it reads through."""
        filters, scheme = plan.filters[-1], self.applicator.scheme
        changes = plan.changes_shape(channels)
        if self.plain or not (changes or self.shortcut == "C"):
            return [], 0
        start, before_weight = scheme.branch_start(site), scheme.before_weight(site)
        first = before_weight
        if self.preactivation:
            first = scheme.before_activation(site)
        shared_layers = len(start) + len(first) if scheme.shifts_projection else 0
        if self.shortcut == "A":
            shortcut = layers.ZeroPaddingShortcut(filters, plan.stride, name="shortcut")
            return [shortcut], shared_layers
        if self.preactivation:
            # The projection reads what the first weight layer reads (He et al. 2016b).
            shared_layers = len(start) + len(first) + 1 + len(before_weight)
        site = dataclasses.replace(site, role="projection")
        projection = self.applicator.weight(site, self._projection(filters, plan))
        after = self.applicator.at("after_projection", site, "shortcut")
        return [*self._pooling(plan), projection, *after], shared_layers

    def _pooling(self, plan: BlockPlan) -> Layers:
        """The average over neighbours in front of a shortcut's projection."""
        if not (plan.pooled_shortcut and plan.stride > 1):
            return []
        pooling = getattr(keras.layers, f"AveragePooling{self.rank}D")
        return [
            pooling(
                plan.stride,
                padding="same",
                data_format="channels_last",
                name="shortcut_pool",
            )
        ]

    def _projection(self, filters: int, plan: BlockPlan) -> keras.layers.Layer:
        """A strided 1x1 convolution, or a dense layer."""
        if self.rank == 0:
            return keras.layers.Dense(
                filters, kernel_initializer=OWN_DRAW, name="shortcut"
            )
        return convolution_class(self.rank)(
            filters,
            1,
            strides=1 if plan.pooled_shortcut else plan.stride,
            data_format="channels_last",
            kernel_initializer=OWN_DRAW,
            name="shortcut",
        )

    def activated(self, site: Site, name: str) -> Layers:
        """The activation at `site`, with what the scheme puts in front of it."""
        plain = keras.layers.Activation(self.activation, name=name)
        before = self.applicator.at("before_activation", site, name)
        return [*before, self.applicator.activation(site, plain)]

    def weight(
        self,
        site: Site,
        filters: int,
        kernel_size: int,
        strides: int,
        name: str,
        prefix: str | None = None,
        groups: int = 1,
        same_padding: bool = False,
    ) -> Layers:
        """The weight layer at `site`, `Dense` or convolution, and what precedes it."""
        built = self.applicator.at("before_weight", site, prefix or name)
        if self.rank == 0:
            plain = keras.layers.Dense(filters, kernel_initializer=OWN_DRAW, name=name)
            return [*built, self.applicator.weight(site, plain)]
        channels_last = {"data_format": "channels_last"}
        padding = "same"
        if strides > 1 and kernel_size > 1 and not same_padding:
            # The published networks pad strided convolutions alike on every
            # side. Keras's "same" pads even inputs at the end only.
            pad = getattr(keras.layers, f"ZeroPadding{self.rank}D")
            around = pad(kernel_size // 2, name=f"{name}_padding", **channels_last)
            built, padding = [*built, around], "valid"
        plain = convolution_class(self.rank)(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            groups=groups,
            kernel_initializer=OWN_DRAW,
            name=name,
            **channels_last,
        )
        return [*built, self.applicator.weight(site, plain)]
