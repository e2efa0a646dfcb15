"""Rules for the layers of fixinit. Residual blocks and stacks are taken apart."""

from fixinit import layers
from fixinit.theory import calculus
from fixinit.theory.initial import weight_moments
from fixinit.theory.moments import Moments
from fixinit.theory.positions import Window
from fixinit.theory.registry import find, register


@register(layers.ScalarBias)
def scalar_bias(layer, setting, x):
    return calculus.randomly_scale(x, shift=weight_moments(layer.initializer, ()))


@register(layers.ScalarMultiplier)
def scalar_multiplier(layer, setting, x):
    return calculus.randomly_scale(x, factor=weight_moments(layer.initializer, ()))


@register(layers.ScaledAdd)
def scaled_add(layer, setting, xs):
    return calculus.add(xs, [float(layer.shortcut_scale), float(layer.branch_scale)])


@register(layers.ZeroPaddingShortcut)
def zero_padding_shortcut(layer, setting, x):
    if layer.strides > 1:
        strided = [Window.convolution(n, 1, layer.strides, 1, "same") for n in x.shape]
        x = calculus.spatial(x, strided)
    missing = layer.filters - x.total_channels
    if not missing:
        return x
    zeros = Moments.inputs((*x.shape, missing), 0.0, 0.0)
    return calculus.concatenate([x, zeros])


@register(layers.ProjectionShortcut)
def projection_shortcut(layer, setting, x):
    return find(layer.projection)(layer.projection, setting, x)
