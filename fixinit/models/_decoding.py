"""One position after the other, with what attention has seen in a cache."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from fixinit import backend
from fixinit._typing import Tensor
from fixinit.layers import (
    PositionEmbedding,
    ResidualBlock,
    SelfAttention,
    Stack,
    TokenEmbedding,
)
from fixinit.layers.key_value_cache import KeyValueCache
from fixinit.layers.residual_block import takes


class Decoder:
    """Runs a language model on new positions of sequences.

    Args:
        model: `CausalNetwork`, whose layers follow one another.
        batch: int.
        length: int. The most positions, with those that are to come.

    Attributes:
        caches: List of tensors, keys and values of every attention, alternately.
    """

    def __init__(self, model: keras.Model, batch: int, length: int) -> None:
        self.layers = [
            layer
            for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer)
        ]
        self.variables = model.variables
        self.caches = [
            ops.zeros(shape, dtype)
            for layer in self.layers
            for shape, dtype in _cache_shapes(layer, batch, length)
        ]
        self._step = backend.compiled(self._run)

    def __call__(self, tokens: Any, at: int, valid: Any) -> Tensor:
        """The scores of what follows the last of new tokens.

        Args:
            tokens: Integers `(batch, new)`.
            at: int, the index of the first of them.
            valid: Booleans `(batch, length)`: which positions are no padding. Those
                that are to come count as valid.
        """
        with backend.without_gradients():
            logits, *self.caches = self._step(
                [variable.value for variable in self.variables],
                self.caches,
                ops.convert_to_tensor(tokens, "int32"),
                ops.convert_to_tensor(at, "int32"),
                ops.convert_to_tensor(valid, "bool"),
            )
        return logits

    def _run(
        self,
        weights: Sequence[Tensor],
        caches: Sequence[Tensor],
        tokens: Tensor,
        at: Tensor,
        valid: Tensor,
    ) -> list[Tensor]:
        mapping = zip(self.variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=mapping):
            return self._outputs(list(caches), tokens, at, valid)

    def _outputs(
        self, caches: list[Tensor], tokens: Tensor, at: Tensor, valid: Tensor
    ) -> list[Tensor]:
        new, length = tokens.shape[1], valid.shape[1]
        index = at + ops.arange(new, dtype="int32")
        before = ops.arange(length, dtype="int32")[None] <= index[:, None]
        seen = ops.logical_and(before[None], valid[:, None])[:, None]
        counted = ops.sum(ops.cast(seen[:, 0], "int32"), axis=-1)
        positions = ops.maximum(counted - 1, 0)
        made: list[Tensor] = []
        x, embedding = tokens, None
        for layer in self.layers:
            if layer.name == "logits" and embedding is not None:
                x = embedding(x, reverse=True)
            if isinstance(layer, TokenEmbedding):
                embedding = layer
            elif layer.name == "head":
                embedding = None
            if isinstance(layer, PositionEmbedding):
                x = x + ops.take(ops.cast(layer.table, x.dtype), positions, axis=0)
            elif _attends(layer):
                cache = KeyValueCache(caches.pop(0), caches.pop(0), at, seen)
                x = _called(layer, x, cache)
                made += [cache.keys, cache.values]
            else:
                x = layer(x)
        return [x[:, -1], *made]


def _called(layer: Any, x: Tensor, cache: KeyValueCache) -> Tensor:
    """A block, or a stack of blocks, on new positions."""
    if not isinstance(layer, Stack):
        return _block(layer, x, cache)
    rows = [cache.keys, cache.values]

    def body(x: Tensor, rows: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        inner = KeyValueCache(rows[0], rows[1], cache.at, cache.seen)
        x = _block(layer.block, x, inner)
        return x, [inner.keys, inner.values]

    like = [keras.KerasTensor(row.shape[1:], row.dtype) for row in rows]
    x, (cache.keys, cache.values) = layer.scan_blocks(x, body, rows, like, keep=False)
    return x


def _block(block: Any, x: Tensor, cache: KeyValueCache) -> Tensor:
    for layer in _inside(block):
        x = layer(x, cache=cache) if takes(layer, "cache") else layer(x)
    return x


def _inside(block: Any) -> list[keras.layers.Layer]:
    """The residual blocks of a block."""
    if isinstance(block, ResidualBlock):
        return [block]
    return [x for x in block.layers if not isinstance(x, keras.layers.InputLayer)]


@functools.singledispatch
def _attentions(layer: Any) -> list[SelfAttention]:
    return []


@_attentions.register
def _(layer: ResidualBlock) -> list[SelfAttention]:
    return [x for x in layer.branch if isinstance(x, SelfAttention)]


@_attentions.register
def _(layer: Stack) -> list[SelfAttention]:
    return [x for inner in _inside(layer.block) for x in _attentions(inner)]


def _attends(layer: Any) -> bool:
    return bool(_attentions(layer))


def _cache_shapes(
    layer: Any, batch: int, length: int
) -> list[tuple[tuple[int, ...], str]]:
    """The shapes of the keys and the values of what attends in a layer."""
    found: list[tuple[tuple[int, ...], str]] = []
    depth = (layer.depth,) if isinstance(layer, Stack) else ()
    for attention in _attentions(layer):
        for part in (attention.key, attention.value):
            heads = attention.num_key_value_heads
            width = part.units // heads
            shape = (*depth, batch, length, heads, width)
            found.append((shape, attention.compute_dtype))
    return found
