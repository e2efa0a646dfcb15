"""Rules for the attention layers of Keras."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras.layers import Layer

from fixinit import _keras
from fixinit.theory import calculus
from fixinit.theory.calculus.attention import attend, weights
from fixinit.theory.calculus.drawn import common_width
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.reshaping import repeat_channels
from fixinit.theory.calculus.scores import Scores, check_axes, check_rows, scores_of
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian import activations
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.initializers import weight_moments
from fixinit.theory.rules.masks import causal, mask_array
from fixinit.theory.rules.weight_layers import einsum_kernel


@register(keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
def multi_head_attention(
    layer: Layer,
    setting: Setting,
    query: Moments,
    value: Moments,
    key: Moments | None = None,
    attention_mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    """Heads are channels that are averaged with weights of their own."""
    parts = _keras.attention_parts(layer)
    key, space = value if key is None else key, query.shape
    axes = [axis - 1 for axis in parts.axes or range(1, len(space) + 1)]
    check_axes(query, key, value)
    given = [(parts.query, query), (parts.key, key), (parts.value, value)]
    q, k, v = (_attended(_projected(d, setting, x), axes, setting) for d, x in given)
    scores = Scores(q, k, parts.dim, parts.scale)
    mask = mask_array(attention_mask, setting)
    if mask is not None:
        scores = scores.masked(_of_one_head(mask, len(scores.rows), axes, scores))
    if use_causal_mask or parts.window:
        seen = causal(q.shape[-1], k.shape[-1], use_causal_mask, parts.window)
        scores = scores.masked(seen)
    keep = 1 - layer.dropout if setting.training else 1.0
    y = attend(scores, v, keep, common_width(k.sources, v.sources))
    y = repeat_channels(y, parts.heads * parts.value_dim)
    if y.shape != space:
        y = _restored(y, axes, space)
    if parts.gate is not None:
        gate = _projected(parts.gate, setting, query)
        gate = calculus.apply(gate, activations.activation("sigmoid"))
        y = calculus.multiply([y, gate])
    output = _projected(parts.output, setting, y)
    if not return_attention_scores:
        return output
    kernel = weights(scores)
    heads = calculus.reshape(kernel, (1, *kernel.shape))
    window = calculus.Window.gather(1, 0, parts.heads, repeat=parts.heads)
    rest = [calculus.Window.gather(n, 0, n) for n in kernel.shape]
    return output, calculus.spatial(heads, [window, *rest])


@register(keras.layers.Attention, keras.layers.AdditiveAttention)
def attention(
    layer: Layer,
    setting: Setting,
    inputs: Sequence[Moments],
    mask: Any = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    """Values are averaged by the softmax of scores, of a query and all keys."""
    query, value = inputs[0], inputs[1]
    key = inputs[2] if len(inputs) > 2 else value
    check_rows(query, key, value)
    scores = _scores(layer, query, key)
    if mask is not None and len(mask) > 1:
        scores = scores.masked(mask_array(mask[1], setting, rank=2))
    if use_causal_mask:
        scores = scores.masked(causal(query.shape[-1], key.shape[-1]))
    keep = 1 - layer.dropout if setting.training else 1.0
    y = attend(scores, value, keep, value.total_channels if key is value else None)
    return (y, weights(scores)) if return_attention_scores else y


def _scores(layer: Layer, query: Moments, key: Moments) -> Scores:
    """Inner products of what comes in, or sums of tanh, whose scale may be drawn."""
    if not isinstance(layer, keras.layers.AdditiveAttention):
        is_product = layer.score_mode == "dot"
        return scores_of(query, key) if is_product else _additive(query, key, 1.0)
    if not layer.use_scale:
        return _additive(query, key, 1.0)
    mean, variance = weight_moments("glorot_uniform", (query.total_channels,))
    return _additive(query, key, math.sqrt(mean**2 + variance))


def _additive(query: Moments, key: Moments, factor: float) -> Scores:
    """Scores `sum_i c tanh(q_ti + k_si)`, as products of keys with a constant query.

    What the query adds is alike for all keys, and differs little between queries.
    """
    shape = key.shape
    if query is key:
        x = calculus.scale(key, math.sqrt(2.0))
    else:
        own = query.average(query.squares)[:, None]
        crossed = query.average(
            query.cross[:, :: int(math.sqrt(query.cross.shape[-1])) + 1]
        )[:, None]
        level = query.average(query.mean)[:, None]
        ones, pairs = np.ones(key.mean.shape[1:]), np.ones(key.same.shape[1:])
        added = Moments(
            shape,
            query.channels,
            level * ones,
            own * pairs,
            crossed * pairs,
            query.sources,
        )
        share, into = shape[-1] / query.shape[-1], query.mean.shape
        average = added.average
        added.node.link(
            (query,),
            lambda g: [np.broadcast_to(share * average(g)[:, None], into)],
        )
        independent = key.like(key.mean, key.same, key.cross, frozenset([object()]))
        independent.node.link((key,), lambda g: [g])
        x = calculus.add([added, independent])
    x = calculus.apply(x, activations.activation("tanh"))
    constant = Moments.inputs((query.shape[-1], x.total_channels), 1.0, 0.0)
    return Scores(constant, x, x.total_channels, factor)


def _of_one_head(
    mask: np.ndarray, rows: int, axes: Sequence[int], scores: Scores
) -> np.ndarray:
    """A mask whose queries and keys are one axis each. Heads are taken to be alike."""
    if mask.ndim == rows + 2 * len(axes) + 1:
        mask = mask.take(0, axis=rows)
    pairs = (scores.query.shape[-1], scores.key.shape[-1])
    if (
        len(axes) > 1
        and mask.shape[rows:]
        and mask[(0,) * rows].size == math.prod(pairs)
    ):
        return mask.reshape(*mask.shape[:rows], *pairs)
    return mask


def _projected(dense: Any, setting: Setting, x: Moments) -> Moments:
    """A projection of all channels to heads, or of all heads to channels."""
    filters = math.prod(dense.kernel.shape) // x.total_channels
    weight = einsum_kernel(dense, setting)
    bias = (0.0, 0.0)
    if dense.bias is not None:
        bias = weight_moments(dense.bias_initializer, tuple(dense.bias.shape))
    return calculus.mix(x, [], filters, weight, bias=bias)


def _attended(x: Moments, axes: Sequence[int], setting: Setting) -> Moments:
    """`x` with the axes that are attended as one, the last."""
    rows = [i for i in range(len(x.shape)) if i not in axes]
    order = [*rows, *axes]
    if order != sorted(order):
        x = calculus.permute(x, order)
    if len(axes) < 1:
        raise NoRuleError(f"`{setting.name}` attends no axis.")
    if len(axes) > 1:
        count = math.prod(x.shape[len(rows) :])
        x = calculus.regroup(x, (*x.shape[: len(rows)], count))
    return x


def _restored(y: Moments, axes: Sequence[int], space: Sequence[int]) -> Moments:
    """The opposite of `_attended`, for the axes of the query."""
    rows = [i for i in range(len(space)) if i not in axes]
    order = [*rows, *axes]
    if len(axes) > 1:
        y = calculus.regroup(y, [space[i] for i in order])
    return calculus.permute(y, [int(i) for i in np.argsort(order)])
