"""Self-attention over given weight layers."""

from typing import Any

import keras
from keras import ops

from fixinit._checked import checked
from fixinit._typing import Shape, Tensor
from fixinit._validation import check_number, check_positive_int
from fixinit.layers.block_configs import without_build
from fixinit.layers.key_value_cache import KeyValueCache
from fixinit.layers.rotary import rotate
from fixinit.layers.sequences import check_sequences, checked_mask

_PARTS = ("query", "key", "value", "query_norm", "key_norm")


@keras.saving.register_keras_serializable("fixinit")
class SelfAttention(keras.layers.Layer):
    """Multi-head attention of a sequence to itself, in front of its output projection.

        outputs_t = concat_h sum_s softmax_s(q_th . k_sh / sqrt(d)) v_sh

    q, k and v are what three weight layers make of the inputs, cut into heads of width
    d. The projection behind the heads is a weight layer of its own: a branch of a
    Transformer is `[normalization, SelfAttention(...), Dense(width)]`. The layer calls
    `keras.ops.dot_product_attention`, which uses flash attention where the backend has
    it.

    Example:

    >>> attention = fixinit.layers.SelfAttention(
    ...     *(keras.layers.Dense(8, name=name) for name in ("query", "key", "value")),
    ...     num_heads=2,
    ...     is_causal=True,
    ... )
    >>> tuple(attention(keras.ops.ones((1, 5, 8))).shape)
    (1, 5, 8)

    Args:
        query, key, value: Keras layers of outputs `(batch, length, heads * d)`.
        num_heads: int. Heads of the queries.
        num_key_value_heads: int that divides `num_heads`, or `None` (default) for as
            many. Heads of keys and values, each of which serves a group of queries.
        is_causal: bool. Whether a position sees only itself and those before it.
        rotary_base: float, or `None` (default) for none. Base of rotary positions:
            pair i of a head's d channels is turned by `t * base^(-2i / d)` at
            position t, in queries and keys.
        query_norm, key_norm: Keras layers applied to the heads of queries and keys, of
            shape `(batch, length, heads, d)`, or `None` (default).
        soft_cap: float, positive, or `None` (default) for none. Scores become
            `soft_cap * tanh(score / soft_cap)`.
        **kwargs: The arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, length, channels)`.
        mask: Boolean tensor `(batch, length)`, `False` where nobody looks. By default
            the one that Keras has attached to `inputs`. Positions count from the first
            `True`, so that padding on either side changes nothing.
        cache: `KeyValueCache`, or `None` (default). With one, the inputs are the next
            positions of a sequence, whose keys and values are put into it.

    Output shape:
        `(batch, length, heads * d)`, with d of the values.

    Raises:
        ValueError: If heads do not divide the channels that a weight layer gives, or
            `num_key_value_heads` not `num_heads`; if heads of queries and keys differ
            in width, or it is odd with rotary positions; for masks of other shapes.

    References:

    - [Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)
    - [Ainslie et al., 2023](https://arxiv.org/abs/2305.13245) (grouped queries)
    - [Su et al., 2021](https://arxiv.org/abs/2104.09864) (rotary positions)
    """

    @checked
    def __init__(
        self,
        query: keras.layers.Layer,
        key: keras.layers.Layer,
        value: keras.layers.Layer,
        num_heads: int,
        num_key_value_heads: int | None = None,
        is_causal: bool = False,
        rotary_base: float | None = None,
        query_norm: keras.layers.Layer | None = None,
        key_norm: keras.layers.Layer | None = None,
        soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.query, self.key, self.value = query, key, value
        self.query_norm, self.key_norm = query_norm, key_norm
        self.num_heads = check_positive_int("num_heads", num_heads)
        groups = num_heads if num_key_value_heads is None else num_key_value_heads
        self.num_key_value_heads = check_positive_int("num_key_value_heads", groups)
        if num_heads % groups:
            raise ValueError(
                "Argument `num_key_value_heads` must divide `num_heads`. Received: "
                f"num_key_value_heads={groups}, num_heads={num_heads}"
            )
        self.is_causal = is_causal
        self.rotary_base, self.soft_cap = rotary_base, soft_cap
        for name in ("rotary_base", "soft_cap"):
            if getattr(self, name) is not None:
                check_number(
                    name, getattr(self, name), "a positive number", lambda x: x > 0
                )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape)
        check_sequences(self.name, shape)
        widths = {}
        heads = {"query": self.num_heads, "key": self.num_key_value_heads}
        for name in ("query", "key", "value"):
            layer = getattr(self, name)
            if not layer.built:
                layer.build(shape)
            count = heads.get(name, self.num_key_value_heads)
            channels = layer.compute_output_shape(shape)[-1]
            if channels % count:
                raise ValueError(
                    f"The {count} heads of `{self.name}` must divide the channels that "
                    f"`{layer.name}` gives. Received: {channels}. Take a width that is "
                    f"a multiple of {count}."
                )
            widths[name] = channels // count
            norm = getattr(self, f"{name}_norm", None)
            if norm is not None and not norm.built:
                norm.build((*shape[:-1], count, channels // count))
        if widths["query"] != widths["key"]:
            raise ValueError(
                f"The heads of queries and keys in `{self.name}` must have one width. "
                f"Received: {widths['query']} and {widths['key']}"
            )
        if self.rotary_base is not None and widths["query"] % 2:
            raise ValueError(
                "Rotary positions turn pairs of channels: heads need an even width. "
                f"Received: heads of width {widths['query']} in `{self.name}`"
            )
        self.built = True

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        if mask is not None:
            mask = checked_mask(self.name, inputs, mask)
        q, k, v = self._heads(inputs)
        if cache is not None:
            return self._continued(q, k, v, cache)
        if self.rotary_base is not None:
            at = positions(inputs, mask)
            q, k = (rotate(x, at, self.rotary_base) for x in (q, k))
        seen = None if mask is None else mask[:, None, None, :]
        return self._attended(q, k, v, seen, self.is_causal)

    def _continued(self, q: Tensor, k: Tensor, v: Tensor, cache: Any) -> Tensor:
        """Attention of new positions to themselves and to those before."""
        if self.rotary_base is not None:
            before = ops.sum(ops.cast(cache.seen[:, 0], "int32"), axis=-1)
            at = ops.maximum(before - 1, 0)
            q, k = (rotate(x, at, self.rotary_base) for x in (q, k))
        start = (0, cache.at, 0, 0)
        cache.keys = ops.slice_update(cache.keys, start, k)
        cache.values = ops.slice_update(cache.values, start, v)
        return self._attended(q, cache.keys, cache.values, cache.seen, False)

    def _heads(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of shape `(batch, length, heads, d)`."""
        counts = self.num_heads, self.num_key_value_heads, self.num_key_value_heads
        made = []
        for name, count in zip(("query", "key", "value"), counts, strict=True):
            x = getattr(self, name)(inputs)
            shape = ops.shape(x)
            x = ops.reshape(x, (shape[0], shape[1], count, x.shape[-1] // count))
            norm = getattr(self, f"{name}_norm", None)
            made.append(x if norm is None else norm(x))
        q, k, v = made
        return q, k, v

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Any, is_causal: bool
    ) -> Tensor:
        group = self.num_heads // self.num_key_value_heads
        if group > 1:
            k, v = (_repeated(x, group) for x in (k, v))
        # JAX's own takes values of the width of queries alone.
        if self.soft_cap is None and q.shape[-1] == v.shape[-1]:
            y = ops.dot_product_attention(q, k, v, mask=seen, is_causal=is_causal)
        else:
            y = self._averaged(q, k, v, seen, is_causal)
        shape = ops.shape(y)
        return ops.reshape(y, (shape[0], shape[1], y.shape[-2] * y.shape[-1]))

    def _averaged(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Any, is_causal: bool
    ) -> Tensor:
        scores = ops.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
        scores = ops.cast(scores, "float32")
        if self.soft_cap is not None:
            scores = self.soft_cap * ops.tanh(scores / self.soft_cap)
        if is_causal:
            size = ops.shape(scores)[-1]
            before = ops.tril(ops.ones((size, size), "bool"))[None, None]
            seen = before if seen is None else ops.logical_and(seen, before)
        if seen is not None:
            scores = ops.where(seen, scores, -1e9)
        weights = ops.cast(ops.softmax(scores), v.dtype)
        return ops.einsum("bhts,bshd->bthd", weights, v)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        shape = tuple(input_shape)
        value = self.value.compute_output_shape(shape)[-1]
        group = self.num_heads // self.num_key_value_heads
        return (*shape[:-1], value * group)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        parts = {name: getattr(self, name) for name in _PARTS}
        return {
            **super().get_config(),
            **{
                name: None if layer is None else without_build(serialize(layer))
                for name, layer in parts.items()
            },
            "num_heads": self.num_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "is_causal": self.is_causal,
            "rotary_base": self.rotary_base,
            "soft_cap": self.soft_cap,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SelfAttention":
        made = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in _PARTS
            if config.get(name) is not None
        }
        return cls(**{**config, **made})


def _repeated(x: Tensor, group: int) -> Tensor:
    """Heads, each as often in a row as there are queries that it serves."""
    # `ops.repeat` fails in loops under XLA on TensorFlow.
    batch, length = ops.shape(x)[0], ops.shape(x)[1]
    heads, width = x.shape[2:]
    x = ops.broadcast_to(x[:, :, :, None], (batch, length, heads, group, width))
    return ops.reshape(x, (batch, length, heads * group, width))


def positions(inputs: Tensor, mask: Tensor | None) -> Tensor:
    """The position of every element, from 0 at the first that is not masked.

    Args:
        inputs: Tensor `(batch, length, ...)`.
        mask: Boolean tensor `(batch, length)`, or `None`.

    Returns:
        Integer tensor `(1, length)`, with a mask `(batch, length)`.
    """
    if mask is None:
        return ops.arange(ops.shape(inputs)[1], dtype="int32")[None]
    return ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1, 0)
