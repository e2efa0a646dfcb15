"""Rules for normalization and pooling as operations of `keras.ops`."""

from typing import Any

import keras

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, how_to_register, register
from fixinit.theory.rules.axes import axes_of
from fixinit.theory.rules.operations import add, multiply


@register("RMSNorm")
def rms_norm(
    operation: Any, setting: Setting, x: Moments, scale: Any = None
) -> Moments:
    _check_channels(operation, setting, x)
    epsilon = _epsilon(operation)
    y = calculus.normalize_by_input(x, epsilon, center=False, by_square=True)
    return y if scale is None else multiply(operation, setting, y, scale)


@register("LayerNorm")
def layer_norm(
    operation: Any, setting: Setting, x: Moments, gamma: Any = None, beta: Any = None
) -> Moments:
    _check_channels(operation, setting, x)
    # With `rms_scaling` Keras divides by the deviation all the same, and has no shift.
    rms = operation.rms_scaling
    y = calculus.normalize_by_input(x, _epsilon(operation), center=not rms)
    y = y if gamma is None else multiply(operation, setting, y, gamma)
    return y if beta is None or rms else add(operation, setting, y, beta)


@register("Normalize")
def normalize(operation: Any, setting: Setting, x: Moments) -> Moments:
    _check_channels(operation, setting, x)
    if operation.order != 2:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` but of order 2. "
            f"Received: order={operation.order}"
        )
    y = calculus.normalize_by_input(x, 0.0, center=False, by_square=True)
    return calculus.scale(y, x.total_channels**-0.5)


@register("MaxPool")
def max_pool(operation: Any, setting: Setting, x: Moments) -> Moments:
    return calculus.max_pool(x, _windows(operation, x))


@register("AveragePool")
def average_pool(operation: Any, setting: Setting, x: Moments) -> Moments:
    windows = [window.averaging() for window in _windows(operation, x)]
    return calculus.spatial(x, windows)


def _windows(operation: Any, x: Moments) -> list[Window]:
    sizes = _on_all_axes(operation.pool_size, x)
    strides = _on_all_axes(operation.strides or operation.pool_size, x)
    return [
        Window.convolution(n, size, stride, 1, operation.padding)
        for n, size, stride in zip(x.shape, sizes, strides, strict=True)
    ]


def _on_all_axes(size: Any, x: Moments) -> list[int]:
    return [size] * len(x.shape) if isinstance(size, int) else list(size)


def _epsilon(operation: Any) -> float:
    given = operation.epsilon
    return keras.config.epsilon() if given is None else float(given)


def _check_channels(operation: Any, setting: Setting, x: Moments) -> None:
    if axes_of(operation.axis, x, setting) != [len(x.shape)]:
        raise NoRuleError(
            f"No variance rule for `{setting.name}` but over the last axis, the "
            f"channels. Received: axis={operation.axis}. " + how_to_register(operation)
        )
