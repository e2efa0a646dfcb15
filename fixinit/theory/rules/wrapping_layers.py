"""Rules for layers that apply another layer at every step."""

from typing import Any

import keras

from fixinit.theory import calculus
from fixinit.theory.application import apply
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, how_to_register, register


@register(keras.layers.TimeDistributed)
def time_distributed(layer: Any, setting: Setting, x: Moments) -> Moments:
    """Steps as inputs of the wrapped layer, whose weights all of them share.

    Pairs of inputs that the rule of the layer sees are two steps of different inputs,
    and in another application two steps of one input. Steps have the moments of their
    average.
    """
    inner = layer.layer
    _check(layer, setting)
    count, own = x.shape[0], _at_one_step(setting)
    (y,) = apply(inner, own, (calculus.into_batch(x),), {})
    (alike,) = apply(inner, own, (calculus.into_batch(x, within=True),), {})
    return calculus.from_batch(y, count, alike)


def _at_one_step(setting: Setting) -> Setting:
    return Setting(
        setting.name,
        setting.training,
        setting.batch_size,
        tuple(setting.output_shape[1:]),
        setting.kernel_factor,
    )


def _check(layer: Any, setting: Setting) -> None:
    inner = layer.layer
    if isinstance(inner, keras.layers.BatchNormalization) and setting.training:
        raise NoRuleError(
            f"No variance rule for `{setting.name}`, which normalizes every step by "
            "its own batch. Predict with training=False, or "
            + _lower(how_to_register(layer))
        )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
