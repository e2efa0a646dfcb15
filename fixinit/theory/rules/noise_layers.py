"""Rules for noise, which acts in training only."""

import math

import keras
import numpy as np
from keras.layers import Layer

from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second, set_diagonal
from fixinit.theory.registry import Setting, register


@register(keras.layers.Dropout, keras.layers.GaussianDropout)
def dropout(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Every element is multiplied by noise of mean 1 and variance r / (1 - r)."""
    if not setting.training or not layer.rate:
        return x
    return _noisy(x, x.squares / (1 - layer.rate), 1 / (1 - layer.rate))


@register(
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
def spatial_dropout(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Every channel of every input is multiplied by such noise."""
    if not setting.training or not layer.rate:
        return x
    kept = 1 / (1 - layer.rate)
    y = x.like(x.mean, x.same * kept, x.cross)
    y.node.link((x,), lambda g: [g * kept])
    return y


@register(keras.layers.GaussianNoise)
def gaussian_noise(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if not setting.training:
        return x
    return _noisy(x, x.squares + layer.stddev**2, 1.0)


@register(keras.layers.AlphaDropout)
def alpha_dropout(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Elements are set to SELU's limit, and mean and variance are restored."""
    if not setting.training or not layer.rate:
        return x
    low = -1.0507009873554805 * 1.6732632423543772
    keep = 1 - layer.rate
    a = 1 / math.sqrt(keep * (1 + layer.rate * low**2))
    b = -a * layer.rate * low
    # a (h m + low (1 - m)) + b with m = 1 for the elements that are kept.
    mean = a * (keep * x.mean + layer.rate * low) + b
    constant = a * layer.rate * low + b
    square = a**2 * (keep * x.squares + layer.rate * low**2)
    square = square + 2 * b * (mean - b) + b**2
    scale = a * keep
    means = first(x.mean, x.shape) + second(x.mean, x.shape)
    pairs = [
        scale**2 * values + scale * constant * means + constant**2
        for values in (x.same, x.cross)
    ]
    y = x.like(mean, set_diagonal(pairs[0], x.shape, square), pairs[1])
    y.node.link((x,), lambda g: [g * a**2 * keep])
    return y


def _noisy(x: Moments, squares: np.ndarray, gain: float) -> Moments:
    y = x.like(x.mean, set_diagonal(np.array(x.same), x.shape, squares), x.cross)
    y.node.link((x,), lambda g: [g * gain])
    return y
