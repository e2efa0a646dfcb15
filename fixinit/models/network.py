"""Assembles a residual network: the one place where a scheme is asked.

A network is stem, residual blocks, head. The families in this package plan the
blocks; `Network` turns the plan and a scheme's answers into Keras layers.
"""

import dataclasses
import re

import keras
import numpy as np

from fixinit import layers
from fixinit._validation import check_choice, check_number, check_positive_int
from fixinit.layers.scalars import check_float
from fixinit.layers.shortcuts import convolution_class
from fixinit.layers.stack_arguments import check_remat
from fixinit.schemes.answers import WatchedSite, first_seed, named, with_seed

SHORTCUTS = ("A", "B", "C")


# By default networks of so many blocks are stacked: from there on a loop takes less
# time to the first step and no more for the others (measured: docs/stack.md).
STACKED_FROM = 50
# PyTorch, which traces nothing, gains nothing: there, where Keras may fail to build.
STACKED_FROM_ON_TORCH = 500


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """The shape of one residual block: one entry per weight layer."""

    name: str
    filters: tuple
    kernel_sizes: tuple
    strides: tuple


@keras.saving.register_keras_serializable("fixinit")
class ResidualNetwork(keras.Model):
    """A functional `keras.Model` that refuses integer inputs and starts fast.

    Keras would cast integer images to float without scaling them, and a network
    without normalization does not forgive inputs of size 255.
    """

    def call(self, inputs, training=None, mask=None):
        check_float(self.name, inputs)
        return super().call(inputs, training=training, mask=mask)

    def make_train_function(self, force=False):
        # Keras would build the optimizer while TensorFlow traces the training step,
        # which is then traced a second time.
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)


class Network:
    """What all blocks of one network have in common.

    Args:
        scheme: `fixinit.schemes.Scheme`.
        num_branches: int. Number of residual branches.
        input_shape: Shape of one sample, channels last. Without spatial axes the
            weight layers are `Dense`, with one to three of them convolutions.
        preactivation: bool. Order of activation and weight layer in a branch.
        shortcut: `"A"`, `"B"` or `"C"`, the options of He et al. 2016: append
            zero channels, project where the shape changes, project everywhere.
        activation: Keras activation.
        dropout_rate: float. Dropout in front of every weight layer of a branch
            but the first.
        plain: bool. Leave the shortcuts out, and the merges with them.
        seed: int or `None`. The draws of the weight layers, in order from the
            input, are seeded with consecutive integers from a start that `seed`
            determines, so that no two of them are alike.
        stacked: bool or `"auto"`. Whether consecutive blocks of one shape become one
            `fixinit.layers.Stack`: by default in networks of at least
            `STACKED_FROM` blocks, or `STACKED_FROM_ON_TORCH`.
        remat: What stacks keep for the gradient: see `fixinit.layers.Stack`.
    """

    def __init__(
        self,
        scheme,
        num_branches,
        input_shape,
        preactivation,
        shortcut="B",
        activation="relu",
        dropout_rate=0.0,
        plain=False,
        seed=None,
        stacked="auto",
        remat=None,
    ):
        check_choice("stacked", stacked, ("auto", True, False))
        check_number(
            "dropout_rate", dropout_rate, "a number in [0, 1)", lambda x: 0 <= x < 1
        )
        if seed is not None:
            check_positive_int("seed", seed, minimum=0)
        if plain and scheme.starts_at_identity:
            raise ValueError(
                f"Argument `plain=True` needs a scheme whose branches are not zero "
                f"at initialization: without shortcuts, the network would output "
                f"zeros and never train. Received: scheme={scheme!r}. Use "
                "'unnormalized' or 'batch_norm'."
            )
        self.scheme = scheme
        self.num_branches = num_branches
        self.input_shape = tuple(input_shape)
        self.rank = len(self.input_shape) - 1
        self.preactivation = preactivation
        self.shortcut = check_choice("shortcut", shortcut, SHORTCUTS)
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.plain = plain
        self.next_seed = first_seed(seed)
        # Whether the scheme looked at which branch they are in shows afterwards.
        self.sites = []
        self.stacked = stacked
        self.remat = check_remat(remat)

    def model(self, stem, channels, plans, classes, classifier_activation, name):
        """The Keras model: stem (layers that end in `channels`), blocks, head."""
        inputs = keras.Input(self.input_shape)
        outputs = inputs
        body = stem + self.blocks(plans, channels)
        for layer in body + self.head(classes, classifier_activation):
            outputs = layer(outputs)
        try:
            return ResidualNetwork(inputs, outputs, name=name)
        except RecursionError:
            raise RecursionError(
                f"Keras cannot build a functional graph of {len(plans)} blocks in a "
                "row: it recurses once per block and Python's limit is reached. "
                "Give the model stacked=True."
            ) from None

    def blocks(self, plans, channels):
        """The residual blocks; where they are stacked, one layer for equal ones."""
        built, index = [], 0
        while index < len(plans):
            first_seed, self.sites = self.next_seed, []
            block = self.block(index, plans[index], channels)
            run = 1
            if self.is_stacked():
                run = self.equal_blocks(plans[index:], channels)
            if run > 1:
                step = self.next_seed - first_seed
                block = self.stack(index, plans[index : index + run], block, step)
                index += run - 1
            built.append(block)
            channels = plans[index].filters[-1]
            index += 1
        return built

    def is_stacked(self):
        """Whether equal blocks become a stack."""
        if self.stacked != "auto":
            return self.stacked
        on_torch = keras.backend.backend() == "torch"
        least = STACKED_FROM_ON_TORCH if on_torch else STACKED_FROM
        return self.num_branches >= least

    def equal_blocks(self, plans, channels):
        """How many of the first blocks keep the shape and differ in name only."""
        first = plans[0]
        if np.prod(first.strides) > 1 or first.filters[-1] != channels:
            return 1
        same = [dataclasses.replace(plan, name=first.name) == first for plan in plans]
        return same.index(False) if False in same else len(same)

    def stack(self, branch, plans, first, seed_step):
        """One layer for equal blocks, of which the first is given."""
        name = re.sub(r"\d+$", "s", plans[0].name)
        options = {"remat": self.remat, "seed_step": seed_step, "name": name}
        if not any(site.asked for site in self.sites):
            self.next_seed += (len(plans) - 1) * seed_step
            return layers.Stack(first, len(plans), **options)
        channels = plans[0].filters[-1]
        rest = [
            self.block(branch + index, plan, channels)
            for index, plan in enumerate(plans[1:], start=1)
        ]
        return layers.Stack.from_blocks([first, *rest], **options)

    def site(self, branch, layer=0, branch_depth=1, role="branch"):
        """Where a weight layer sits."""
        site = WatchedSite(
            branch, self.num_branches, layer, branch_depth, self.preactivation, role
        )
        self.sites.append(site)
        return site

    def stem(self, filters, kernel_size, strides=1):
        """The first weight layer and, in post-activation order, its activation."""
        site = self.site(0, role="stem")
        built = named(self.scheme.before_weight(site), "stem_weight")
        built += self.weight(site, filters, kernel_size, strides, "stem")
        if not self.preactivation:
            built += self.activated(site, "stem_activation")
        return built

    def imagenet_stem(self, filters):
        """A 7-wide convolution and max pooling, each of stride 2."""
        padding, pooling = (
            getattr(keras.layers, f"{kind}{self.rank}D")
            for kind in ("ZeroPadding", "MaxPooling")
        )
        return [
            *self.stem(filters, kernel_size=7, strides=2),
            padding(1, data_format="channels_last", name="stem_pool_padding"),
            pooling(3, strides=2, data_format="channels_last", name="stem_pool"),
        ]

    def block(self, branch, plan, channels):
        """One residual block on inputs with `channels` channels."""
        depth = len(plan.filters)
        sites = [self.site(branch, layer, depth) for layer in range(depth)]
        shortcut, shared_layers = self.shortcut_layers(sites[0], plan, channels)
        return layers.ResidualBlock(
            branch=self.branch_layers(sites, plan),
            shortcut=shortcut,
            merge=self.scheme.merge(sites[-1]),
            activation=None if self.preactivation else self.activation,
            shared_layers=shared_layers,
            plain=self.plain,
            name=plan.name,
        )

    def branch_layers(self, sites, plan):
        """Weight layers with activations before (pre) or between (post) them."""
        built = []
        for site in sites:
            index = site.layer + 1
            if self.preactivation:
                built += self.activated(site, f"activation{index}")
            if self.dropout_rate and site.layer > 0:
                built.append(
                    keras.layers.Dropout(
                        self.dropout_rate, seed=self.take_seed(), name=f"dropout{index}"
                    )
                )
            built += named(self.scheme.before_weight(site), f"weight{index}")
            built += self.weight(
                site,
                plan.filters[site.layer],
                plan.kernel_sizes[site.layer],
                plan.strides[site.layer],
                f"weight{index}",
            )
            if not self.preactivation and not site.is_last:
                built += self.activated(site, f"activation{index}")
        return built + named(self.scheme.after_branch(sites[-1]), "branch")

    def shortcut_layers(self, site, plan, channels):
        """The shortcut's layers, and how many of the branch's it reads through."""
        filters, stride = plan.filters[-1], int(np.prod(plan.strides))
        changes = stride > 1 or filters != channels
        if self.plain or not (changes or self.shortcut == "C"):
            return [], 0
        before_weight = self.scheme.before_weight(site)
        first = before_weight
        if self.preactivation:
            first = self.scheme.before_activation(site)
        shared_layers = len(first) if self.scheme.shifts_projection else 0
        if self.shortcut == "A":
            shortcut = layers.ZeroPaddingShortcut(filters, stride, name="shortcut")
            return [shortcut], shared_layers
        if self.preactivation:
            # The projection reads what the first weight layer reads (He et al. 2016b).
            shared_layers = len(first) + 1 + len(before_weight)
        site = self.site(site.branch, 0, site.branch_depth, "projection")
        projection = layers.ProjectionShortcut(
            filters,
            stride,
            kernel_initializer=self.seeded(self.scheme.kernel_initializer(site)),
            use_bias=self.scheme.use_bias,
            name="shortcut",
        )
        after = named(self.scheme.after_projection(site), "shortcut")
        return [projection, *after], shared_layers

    def head(self, classes, classifier_activation):
        """From the last block to the class scores."""
        site = self.site(self.num_branches - 1, role="head")
        built = self.activated(site, "head_activation") if self.preactivation else []
        if self.rank:
            pooling = getattr(keras.layers, f"GlobalAveragePooling{self.rank}D")
            built.append(pooling(data_format="channels_last", name="pool"))
        built += named(self.scheme.before_weight(site), "head_weight")
        initializer = self.seeded(self.scheme.head_initializer())
        built.append(
            keras.layers.Dense(classes, kernel_initializer=initializer, name="head")
        )
        # Losses in half precision are inexact: scores leave in float32.
        half = built[-1].compute_dtype in ("float16", "bfloat16")
        built.append(
            keras.layers.Activation(
                classifier_activation,
                dtype="float32" if half else None,
                name="predictions",
            )
        )
        return built

    def activated(self, site, name):
        """The activation at `site`, with what the scheme puts in front of it."""
        before = named(self.scheme.before_activation(site), name)
        return [*before, keras.layers.Activation(self.activation, name=name)]

    def weight(self, site, filters, kernel_size, strides, name):
        """The weight layer at `site`: `Dense` or convolution."""
        options = {
            "use_bias": self.scheme.use_bias,
            "kernel_initializer": self.seeded(self.scheme.kernel_initializer(site)),
            "name": name,
        }
        if self.rank == 0:
            return [keras.layers.Dense(filters, **options)]
        built, padding = [], "same"
        if strides > 1 and kernel_size > 1:
            # The published networks pad strided convolutions alike on every
            # side. Keras's "same" pads even inputs at the end only.
            zero_padding = getattr(keras.layers, f"ZeroPadding{self.rank}D")
            built.append(
                zero_padding(
                    kernel_size // 2,
                    data_format="channels_last",
                    name=f"{name}_padding",
                )
            )
            padding = "valid"
        convolution = convolution_class(self.rank)(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format="channels_last",
            **options,
        )
        return [*built, convolution]

    def take_seed(self):
        """The next of the consecutive seeds."""
        self.next_seed += 1
        return self.next_seed - 1

    def seeded(self, initializer):
        """The same initializer with this network's next seed."""
        return with_seed(initializer, self.take_seed())
