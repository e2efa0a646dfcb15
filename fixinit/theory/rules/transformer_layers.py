"""Rules for attention, gates and positions of fixinit's Transformers."""

import dataclasses
from typing import Any

import numpy as np
from keras import ops
from keras.layers import Layer

from fixinit import initializers, layers
from fixinit.theory import calculus
from fixinit.theory.application import apply
from fixinit.theory.calculus.attention import attend
from fixinit.theory.calculus.drawn import common_width
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.reshaping import repeat_channels
from fixinit.theory.calculus.scores import Scores
from fixinit.theory.gaussian import activations
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.initializers import weight_moments
from fixinit.theory.rules.masks import causal
from fixinit.theory.rules.weight_layers import reversible_embedding


@register(layers.TokenEmbedding)
def token_embedding(
    layer: Any, setting: Setting, x: Moments, reverse: bool = False
) -> Moments:
    return reversible_embedding(layer, setting, x, reverse)


@register(layers.SelfAttention)
def self_attention(layer: Any, setting: Setting, x: Moments) -> Moments:
    """Heads are channels that are averaged with weights of their own.

    Rotations keep the moments of queries and keys; that they make the scores of
    distant positions less alike is left out. Bounded scores count as Gaussian ones of
    their mean square: 6 % of the output's where the bound is two standard deviations
    of 4, and 22 % where it is one.
    """
    parts = {
        name: _through(getattr(layer, name), setting, x)
        for name in ("query", "key", "value")
    }
    for name in ("query", "key"):
        norm = getattr(layer, f"{name}_norm")
        if norm is not None:
            parts[name] = _through(norm, setting, parts[name])
    q, k, v = parts.values()
    dim = q.total_channels // layer.num_heads
    scores = Scores(q, k, dim, dim**-0.5)
    if layer.soft_cap is not None:
        scores = _bounded(layer.soft_cap, scores)
    if layer.is_causal:
        scores = scores.masked(causal(q.shape[-1], k.shape[-1]))
    y = attend(scores, v, width=common_width(k.sources, v.sources))
    groups = layer.num_heads // layer.num_key_value_heads
    return repeat_channels(y, groups * v.total_channels)


@register(layers.GatedUnit)
def gated_unit(layer: Any, setting: Setting, x: Moments) -> Moments:
    gate, up = (_through(part, setting, x) for part in (layer.gate, layer.up))
    for activation in layer.activation:
        gate = _through(activation, setting, gate)
    return calculus.multiply([gate, up])


@register(layers.PositionEmbedding)
def position_embedding(layer: Any, setting: Setting, x: Moments) -> Moments:
    layer.check_length((None, *x.shape, x.total_channels))
    shape = layer.length, x.total_channels
    if isinstance(layer.initializer, initializers.SinePositions):
        table = ops.convert_to_numpy(layer.initializer(shape, dtype="float32"))
        return calculus.add([x, calculus.constant(table[: x.shape[0]])])
    moments = weight_moments(layer.initializer, shape)
    return calculus.add([x, _drawn_once((*x.shape, x.total_channels), moments)])


@register(layers.ClassToken)
def class_token(layer: Any, setting: Setting, x: Moments) -> Moments:
    shape = 1, x.total_channels
    moments = weight_moments(layer.initializer, (1, *shape))
    return calculus.concatenate_space([_drawn_once(shape, moments), x], 0)


@register(layers.SequencePooling)
def sequence_pooling(layer: Any, setting: Setting, x: Moments) -> Moments:
    if layer.pooling == "first":
        return calculus.global_average(calculus.select(x, 0, [0]))
    rest = range(layer.skip, x.shape[0])
    return calculus.global_average(calculus.select(x, 0, list(rest)))


def _bounded(cap: float, scores: Scores) -> Scores:
    """Gaussian scores of the mean square of `cap * tanh(score / cap)`."""
    square = scores.moments().mean_square
    if not square:
        return scores
    variance = np.array([square / cap**2])
    bounded = activations.activation("tanh").moments(np.zeros(1), variance)[1]
    share = float(bounded[0] / variance[0])
    return dataclasses.replace(scores, factor=scores.factor * share**0.5)


def _through(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """What a layer inside of another gives."""
    inner = Setting(
        f"{setting.name}/{layer.name}",
        setting.training,
        setting.batch_size,
        tuple(layer.compute_output_shape((None, *x.shape, x.total_channels))[1:]),
        setting.kernel_factor,
    )
    (y,) = apply(layer, inner, (x,), {})
    return y


def _drawn_once(shape: tuple[int, ...], moments: tuple[float, float]) -> Moments:
    """Drawn numbers that all inputs have in common."""
    y = Moments.inputs(shape, *moments)
    y.cross = np.array(y.same)
    return y
