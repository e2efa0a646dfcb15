"""Transformer blocks: a plan's layers with a scheme applied."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from fixinit import layers
from fixinit._validation import (
    check_choice,
    check_factor,
)
from fixinit.initializers import SinePositions
from fixinit.models._noise import NOISES, check_rate
from fixinit.models._scores import in_float32
from fixinit.models._stacking import stack_of
from fixinit.models._transformer_plan import TransformerPlan
from fixinit.schemes import Scheme, Site
from fixinit.schemes.apply import Applicator, Layers
from fixinit.schemes.site import ATTENTION_ROLES


@dataclasses.dataclass(frozen=True)
class Subnetworks:
    """The largest value over the subnetworks of a Transformer.

    A callable `(x, local_map)`, for `fixinit.schemes.Scheme.prepared`. Attention has no
    activation, the MLP has one.

    Attributes:
        scheme: `fixinit.schemes.Scheme`, whose `start` says how branches add.
        num_blocks: int.
    """

    scheme: Scheme
    num_blocks: int

    def __call__(self, x: float, local_map: Callable[[float], float]) -> float:
        value = x
        for branch in range(1, 2 * self.num_blocks, 2):
            site = Site(branch, 2 * self.num_blocks, num_blocks=self.num_blocks)
            start = self.scheme.start(site)
            squares = start.shortcut_scale**2, start.total_scale**2
            added = squares[1] * local_map(value)
            value = (squares[0] * value + added) / sum(squares)
        return max(x, value, local_map(x))


def tables_of(embeddings: Layers) -> list[Any]:
    """The initializers of the tables of tokens and positions."""
    tokens = [x for x in embeddings if isinstance(x, layers.TokenEmbedding)]
    positions = [x for x in embeddings if isinstance(x, layers.PositionEmbedding)]
    return [
        *(x.embeddings_initializer for x in tokens),
        *(x.initializer for x in positions),
    ]


def _mean_square(draw: Any, width: int) -> float:
    """The expected square of a number in a table of vectors."""
    if isinstance(draw, SinePositions):
        return 0.5
    if isinstance(draw, keras.initializers.RandomNormal):
        return float(draw.mean**2 + draw.stddev**2)
    return float(np.mean(ops.convert_to_numpy(draw((4096, width))) ** 2))


@keras.saving.register_keras_serializable("fixinit")
class TransformerBlock(keras.Model):
    """Both branches of a block as a functional model, through which masks pass."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask


class TransformerBlocks:
    """The blocks of one Transformer.

    Args:
        scheme: `fixinit.schemes.Scheme`, which is prepared for the network.
        plan: `TransformerPlan`.
        seed: int or `None`, see `fixinit.schemes.apply.Applicator`.

    Attributes:
        applicator: `fixinit.schemes.apply.Applicator`.
    """

    def __init__(
        self, scheme: Scheme, plan: TransformerPlan, seed: int | None = None
    ) -> None:
        self.plan = plan
        prepared = scheme.prepared(Subnetworks(scheme, plan.num_blocks))
        self.applicator = Applicator(prepared, seed)

    def site(self, branch: int = 0, depth: int = 1, **place: Any) -> Site:
        """The site of a layer of this network."""
        return Site(
            branch,
            2 * self.plan.num_blocks,
            branch_depth=depth,
            num_blocks=self.plan.num_blocks,
            **place,
        )

    def embedding(self, draw: keras.initializers.Initializer) -> Any:
        """The initializer of a table of tokens; `draw` where the scheme has none."""
        scheme = self.applicator.scheme
        if scheme.draws_embeddings:
            draw = scheme.draw(self.site(role="embedding")) or draw
        return self.applicator.seeded(draw)

    def embedding_scale(
        self, scale: float | str | None, draws: Sequence[Any]
    ) -> Layers:
        """The trained scalar behind the sum of embeddings.

        Args:
            scale: Its start, `None` for no scalar, `"auto"` for the one that gives the
                stream a mean square of 1, where the scheme does not normalize.
            draws: Initializers of the tables whose vectors are added.
        """
        if isinstance(scale, str):
            check_choice("embedding_scale", scale, ("auto",))
            if self.applicator.scheme.normalizes:
                return []
            scale = sum(_mean_square(x, self.plan.width) for x in draws) ** -0.5
        if scale is None:
            return []
        check_factor("embedding_scale", scale)
        start = keras.initializers.Constant(scale)
        return [layers.ScalarMultiplier(start, name="embedding_scale")]

    def positions(self, kind: str, length: int) -> Layers:
        """What is added to the vectors: a table, or sines; nothing if rotary."""
        if kind == "rotary":
            return []
        table: keras.initializers.Initializer = SinePositions()
        if kind == "learned":
            normal = keras.initializers.RandomNormal(stddev=0.02)
            table = self.applicator.seeded(normal)
        learned = kind == "learned"
        return [layers.PositionEmbedding(length, table, learned, name="positions")]

    def dropout(self, rate: float, name: str) -> Layers:
        """A layer of dropout; none at a rate of 0."""
        if not rate:
            return []
        seed = self.applicator.take_seed()
        return [keras.layers.Dropout(rate, seed=seed, name=name)]

    def body(self, stacked: bool, remat: Any) -> Layers:
        """All blocks: two layers each, or one stack."""
        plan = self.plan
        if stacked and plan.num_blocks > 1:
            return [
                stack_of(
                    self.applicator,
                    self.block,
                    plan.num_blocks,
                    differs=plan.stochastic_depth_rate > 0,
                    remat=remat,
                    name="blocks",
                )
            ]
        return [
            branch
            for index in range(plan.num_blocks)
            for branch in (self.attention(index), self.mlp(index))
        ]

    def block(self, index: int) -> keras.layers.Layer:
        """Both branches of a block as one layer."""
        inputs = keras.Input((None, self.plan.width))
        outputs = self.attention(index)(inputs)
        outputs = self.mlp(index)(outputs)
        return TransformerBlock(inputs, outputs, name=f"block{index + 1}")

    def attention(self, index: int) -> keras.layers.Layer:
        """The residual block of attention."""
        plan, branch = self.plan, 2 * index
        place = {"branch": branch, "depth": 2, "stage_block": branch}
        place |= {"stream_sums": branch}
        query, key, value, output = (
            self.site(role=role, layer=int(role == "output"), **place)
            for role in ATTENTION_ROLES
        )
        head = plan.width // plan.num_heads
        built = self.applicator.at("branch_start", query, "branch")
        built += self.applicator.at("before_weight", query, "attention")
        sizes = plan.num_heads, plan.num_key_value_heads, plan.num_key_value_heads
        parts = [
            self._dense(site, heads * head, site.role)
            for site, heads in zip((query, key, value), sizes, strict=True)
        ]
        norms = [
            layers.RMSNormalization(name=f"{name}_norm")
            if plan.query_key_norm
            else None
            for name in ("query", "key")
        ]
        built.append(
            layers.SelfAttention(
                parts[0],
                parts[1],
                parts[2],
                num_heads=plan.num_heads,
                num_key_value_heads=plan.num_key_value_heads,
                is_causal=plan.is_causal,
                rotary_base=plan.rotary_base,
                soft_cap=plan.soft_cap,
                query_norm=norms[0],
                key_norm=norms[1],
                name="attention",
            )
        )
        built += self.applicator.at("before_weight", output, "output")
        built.append(self._dense(output, plan.width, "output", is_last=True))
        return self._residual(built, output, f"block{index + 1}_attention")

    def mlp(self, index: int) -> keras.layers.Layer:
        """The residual block of the MLP."""
        plan, branch = self.plan, 2 * index + 1
        place = {"branch": branch, "depth": 2, "stage_block": branch}
        place |= {"stream_sums": branch}
        first, last = (self.site(layer=layer, **place) for layer in range(2))
        built = self.applicator.at("branch_start", first, "branch")
        built += self.applicator.at("before_weight", first, "expand")
        activated = self._activated(first)
        if plan.gated:
            gate, up = (
                self._dense(first, plan.mlp_width, name) for name in ("gate", "up")
            )
            built.append(layers.GatedUnit(gate, up, activated, name="expand"))
        else:
            built += [self._dense(first, plan.mlp_width, "expand"), *activated]
        built += self.applicator.at("before_weight", last, "reduce")
        built.append(self._dense(last, plan.width, "reduce", is_last=True))
        return self._residual(built, last, f"block{index + 1}_mlp")

    def end(self) -> Layers:
        """What the scheme has behind the last block."""
        return self.applicator.at("network_end", self._head(), "network_end")

    def scores(
        self, classes: int, activation: Any, draw: Any, drop_rate: float = 0.0
    ) -> Layers:
        """The classification layer.

        Args:
            classes: int.
            activation: Activation of the scores.
            draw: Initializer of the kernel, where the scheme leaves it open.
            drop_rate: float. Rate of dropout in front.
        """
        check_rate("drop_rate", drop_rate)
        built = self.dropout(drop_rate, "head_dropout")
        built += self.applicator.at("before_weight", self._head(), "head_weight")
        scores = keras.layers.Dense(classes, kernel_initializer=draw, name="head")
        built.append(self.applicator.weight(self._head(), scores))
        return [*built, in_float32(built[-1], activation, "predictions")]

    def _head(self) -> Site:
        return self.site(2 * self.plan.num_blocks - 1, role="head")

    def _activated(self, site: Site) -> Layers:
        plain = keras.layers.Activation(self.plan.activation, name="activation")
        before = self.applicator.at("before_activation", site, "activation")
        return [*before, self.applicator.activation(site, plain)]

    def _dense(
        self, site: Site, units: int, name: str, is_last: bool = False
    ) -> keras.layers.Layer:
        plan = self.plan
        plain = keras.layers.Dense(
            units,
            use_bias=plan.use_bias,
            kernel_initializer=plan.last_draw if is_last else plan.draw,
            name=name,
        )
        return self.applicator.weight(site, plain)

    def _residual(self, branch: Layers, site: Site, name: str) -> keras.layers.Layer:
        branch = branch + self.applicator.at("branch_end", site, "branch")
        rate = self.plan.stochastic_depth_rate
        if rate:
            rate *= (site.branch + 1) / site.num_branches
            branch.append(NOISES["stochastic_depth"](rate, self.applicator.take_seed()))
        return layers.ResidualBlock(
            branch=branch,
            merge=self.applicator.merge(site),
            after_merge=self.applicator.at("after_merge", site, "merge"),
            name=name,
        )
