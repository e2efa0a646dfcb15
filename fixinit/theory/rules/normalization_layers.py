"""Rules for normalization layers, at initialization."""

from collections.abc import Sequence

import keras
import numpy as np
from keras.layers import Layer

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, register
from fixinit.theory.rules.initializers import weight_moments

_ONE, _ZERO = (1.0, 0.0), (0.0, 0.0)


@register(keras.layers.BatchNormalization)
def batch_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """In training the batch's statistics; otherwise the initial moving ones."""
    _last_axis(layer, setting, x)
    shape = (x.total_channels,)
    if setting.training and layer.trainable:
        y = calculus.normalize_by_batch(x, layer.epsilon, setting.batch_size)
    else:
        mean, _ = weight_moments(layer.moving_mean_initializer, shape)
        variance, _ = weight_moments(layer.moving_variance_initializer, shape)
        factor = 1 / np.sqrt(variance + layer.epsilon)
        y = calculus.scale(x, factor, -mean * factor)
    return _scaled_and_shifted(layer, y, shape)


@register(keras.layers.LayerNormalization)
def layer_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    rank = len(x.shape) + 2
    given = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    axes = sorted(axis % rank for axis in given)
    if axes not in ([rank - 1], list(range(1, rank))):
        raise NoRuleError(
            f"No variance rule for LayerNormalization `{setting.name}` but over the "
            f"channels, or over all axes but the batch. Received: axis={layer.axis}"
        )
    # With `rms_scaling` Keras divides by the deviation all the same.
    y = calculus.normalize_by_input(
        x, layer.epsilon, center=not layer.rms_scaling, space=len(axes) > 1
    )
    shape = setting.output_shape[axes[0] - 1 :]
    if layer.rms_scaling:
        # It has a scale whatever `scale` is, and no shift.
        gamma = weight_moments(layer.gamma_initializer, shape)
        return calculus.randomly_scale(y, gamma)
    return _scaled_and_shifted(layer, y, shape)


@register(keras.layers.GroupNormalization)
def group_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    _last_axis(layer, setting, x)
    groups = x.total_channels if layer.groups == -1 else layer.groups
    size = x.total_channels // groups
    # A group that spans several kinds of channels is taken to hold all of them.
    channels = size if np.all(x.channels % size == 0) else None
    y = calculus.normalize_by_input(x, layer.epsilon, channels=channels, space=True)
    shape = (x.total_channels,)
    return _scaled_and_shifted(layer, y, shape)


@register(keras.layers.RMSNormalization)
def rms_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    _last_axis(layer, setting, x)
    # Keras starts the scale at 1.
    return calculus.normalize_by_input(x, layer.epsilon, center=False, by_square=True)


@register(keras.layers.UnitNormalization)
def unit_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    _last_axis(layer, setting, x)
    y = calculus.normalize_by_input(x, 0.0, center=False, by_square=True)
    return calculus.scale(y, 1 / np.sqrt(x.total_channels))


@register(keras.layers.Normalization)
def fixed_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """By statistics of the data that were given or adapted to."""
    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(value), "float64")
        for value in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    factor, shift = 1 / deviation, -mean / deviation
    if layer.invert:
        factor, shift = deviation, mean
    return calculus.randomly_scale(
        x, (factor.mean(), factor.var()), (shift.mean(), shift.var())
    )


@register(keras.layers.Rescaling)
def rescaling(layer: Layer, setting: Setting, x: Moments) -> Moments:
    factor, shift = (np.asarray(v, "float64") for v in (layer.scale, layer.offset))
    return calculus.randomly_scale(
        x, (factor.mean(), factor.var()), (shift.mean(), shift.var())
    )


def _last_axis(layer: Layer, setting: Setting, x: Moments) -> None:
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if axis % (len(x.shape) + 2) != len(x.shape) + 1:
        raise NoRuleError(
            f"No variance rule for {type(layer).__name__} `{setting.name}` but over "
            f"the last axis, the channels. Received: axis={layer.axis}"
        )


def _scaled_and_shifted(layer: Layer, y: Moments, shape: Sequence[int]) -> Moments:
    """Multiplies by the layer's scale and adds its shift, where it has them."""
    gamma = weight_moments(layer.gamma_initializer, shape) if layer.scale else _ONE
    beta = weight_moments(layer.beta_initializer, shape) if layer.center else _ZERO
    return calculus.randomly_scale(y, gamma, beta)
