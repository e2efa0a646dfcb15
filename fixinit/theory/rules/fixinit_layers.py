"""Rules for the layers of fixinit; the graph takes residual blocks and stacks apart."""

from collections.abc import Sequence
from typing import Any

from keras.layers import Layer

from fixinit import layers
from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import set_diagonal
from fixinit.theory.calculus.windows import Window
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian import activations
from fixinit.theory.gaussian.functions import Function
from fixinit.theory.gaussian.piecewise import PiecewiseLinear
from fixinit.theory.registry import Setting, find, register
from fixinit.theory.rules.activation_layers import activate
from fixinit.theory.rules.initializers import weight_moments
from fixinit.theory.rules.slicing import broadcast


@register(layers.ScalarBias)
def scalar_bias(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.randomly_scale(x, shift=weight_moments(layer.initializer, ()))


@register(layers.ScalarMultiplier)
def scalar_multiplier(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.randomly_scale(x, factor=weight_moments(layer.initializer, ()))


@register(layers.ChannelAffine)
def channel_affine(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if layer.centered:
        raise NoRuleError(f"No variance rule for `{setting.name}`, which is centered.")
    rank = len(x.shape) + 2
    if layer.axis % rank != rank - 1:
        raise NoRuleError(
            f"No variance rule for ChannelAffine `{setting.name}` but over the "
            f"channels, last. Received: axis={layer.axis}"
        )
    shape = (x.total_channels,)
    gamma = weight_moments(layer.gamma_initializer, shape)
    return calculus.randomly_scale(
        x, gamma, weight_moments(layer.beta_initializer, shape)
    )


@register(layers.ChannelMultiplier)
def channel_multiplier(layer: Layer, setting: Setting, x: Moments) -> Moments:
    rank = len(x.shape) + 2
    if layer.axis % rank != rank - 1:
        raise NoRuleError(
            f"No variance rule for ChannelMultiplier `{setting.name}` but over the "
            f"channels, last. Received: axis={layer.axis}"
        )
    gamma = weight_moments(layer.initializer, (x.total_channels,))
    return calculus.randomly_scale(x, gamma)


@register(layers.ScaledAdd)
def scaled_add(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    return calculus.add(xs, [float(layer.shortcut_scale), float(layer.branch_scale)])


@register(layers.ZeroPaddingShortcut)
def zero_padding_shortcut(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if layer.strides > 1:
        strided = [Window.convolution(n, 1, layer.strides, 1, "same") for n in x.shape]
        x = calculus.spatial(x, strided)
    missing = layer.filters - x.total_channels
    if not missing:
        return x
    zeros = Moments.inputs((*x.shape, missing), 0.0, 0.0)
    return calculus.concatenate([x, zeros])


@register(layers.BroadcastBatch)
def broadcast_batch(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    x, _ = xs
    return broadcast(x, layer.shape)


@register(layers.ProjectionShortcut)
def projection_shortcut(layer: Layer, setting: Setting, x: Moments) -> Moments:
    rule = find(layer.projection)
    assert rule is not None  # a dense layer or a convolution
    return rule(layer.projection, setting, x)


@register(layers.CReLU)
def crelu(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if layer.axis % (len(x.shape) + 2) != len(x.shape) + 1:
        raise NoRuleError(
            f"No variance rule for CReLU `{setting.name}` but over the channels, last. "
            f"Received: axis={layer.axis}"
        )
    # Both are functions of the same values, whose difference is known to be linear.
    halves = PiecewiseLinear([0.0], [0.0, 1.0]), PiecewiseLinear([0.0], [-1.0, 0.0])
    return calculus.concatenate([calculus.apply(x, half) for half in halves])


@register(layers.TailoredActivation)
def tailored_activation(layer: Layer, setting: Setting, x: Moments) -> Moments:
    x = calculus.scale(x, layer.input_scale, layer.input_shift)
    if layer.negative_slope is None:
        y = activate(x, layer.activation, setting)
    else:
        y = calculus.apply(x, PiecewiseLinear([0.0], [layer.negative_slope, 1.0]))
    return calculus.scale(
        y, layer.output_scale, layer.output_scale * layer.output_shift
    )


@register(layers.PointwiseNormalization)
def pointwise_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if layer.axis % (len(x.shape) + 2) != len(x.shape) + 1:
        raise NoRuleError(
            f"No variance rule for {type(layer).__name__} `{setting.name}` but over "
            f"the channels, last. Received: axis={layer.axis}"
        )
    alpha, spread = weight_moments(layer.alpha_initializer, ())
    shift, spread_of_shift = (0.0, 0.0)
    if layer.shift_initializer is not None:
        shift, spread_of_shift = weight_moments(layer.shift_initializer, ())
    if spread or spread_of_shift:
        raise NoRuleError(
            f"No variance rule for {type(layer).__name__} `{setting.name}`, which "
            "draws its scalars at random. Only constant ones have one."
        )
    function = activations.activation(layer.function)
    y = calculus.apply(calculus.scale(x, alpha, shift), function)
    shape = (x.total_channels,)
    gamma = weight_moments(layer.gamma_initializer, shape) if layer.scale else (1, 0)
    beta = weight_moments(layer.beta_initializer, shape) if layer.center else (0, 0)
    return calculus.randomly_scale(y, gamma, beta)


@register(layers.StochasticDepth)
def stochastic_depth(layer: Layer, setting: Setting, x: Moments) -> Moments:
    p = layer.survival_probability
    whole = 1 / p if layer.scaling == "inverted" else 1.0
    if not setting.training:
        return calculus.scale(x, p if layer.scaling == "test" else 1.0)
    mean, square = p * whole, p * whole**2
    apart = square if layer.level == "batch" else mean**2
    return _drawn(x, mean, square, square, apart)


@register(layers.PerLocationNormalization)
def per_location_normalization(layer: Layer, setting: Setting, x: Moments) -> Moments:
    if layer.axis % (len(x.shape) + 2) != len(x.shape) + 1:
        raise NoRuleError(
            f"No variance rule for PerLocationNormalization `{setting.name}` but over "
            f"the channels, last. Received: axis={layer.axis}"
        )
    if layer.coordinate is not None:
        size = 1.0 if layer.coordinate == "one" else x.mean_square**0.5
        constant = Moments.inputs((*x.shape, 1), mean=layer.scale * size, variance=0.0)
        x = calculus.concatenate([x, constant])
    return calculus.normalize_by_input(x, 0.0, center=False, by_square=True)


@register(layers.ShakeDrop)
def shake_drop(layer: Layer, setting: Setting, x: Moments) -> Moments:
    """Forward; gradients as if they passed through the same factor."""
    p, (low, high) = layer.survival_probability, layer.alpha
    alpha = (low + high) / 2
    mean = p + (1 - p) * alpha
    if not setting.training:
        return calculus.scale(x, mean)
    square = p + (1 - p) * (low**2 + low * high + high**2) / 3
    # Whether the branch survives is drawn for the whole batch.
    apart = p + (1 - p) * alpha**2
    near = apart if layer.level == "element" else square
    return _drawn(x, mean, square, near, square if layer.level == "batch" else apart)


@register(layers.ShakeShake)
def shake_shake(layer: Layer, setting: Setting, xs: Sequence[Moments]) -> Moments:
    """`(a + b) / 2 + t (a - b) / 2` with t uniform in [-1, 1): its square is 1 / 3."""
    half = calculus.add(xs, [0.5, 0.5])
    squares = {"shake": 1 / 3, "even": 0.0}
    forward = squares[layer.forward_mode]
    backward = squares.get(layer.backward_mode, forward)
    if not setting.training or not (forward or backward):
        return half
    difference = calculus.add(xs, [0.5, -0.5])
    apart = forward if layer.level == "batch" else 0.0
    same = half.same + forward * difference.same
    y = half.like(half.mean, same, half.cross + apart * difference.cross)
    y.node.link(xs, lambda g: [(1 + backward) / 4 * g for _ in xs])
    return y


def _drawn(
    x: Moments, mean: float, square: float, near: float, apart: float
) -> Moments:
    """`x` times a random factor.

    Args:
        mean, square: floats, the factor's first two moments.
        near, apart: floats, the expected product of the factors at two positions, and
            in two inputs.
    """
    same = set_diagonal(near * x.same, x.shape, square * x.squares)
    y = x.like(mean * x.mean, same, apart * x.cross)
    y.node.link((x,), lambda g: [square * g])
    return y


@register(layers.BranchInputScale)
def branch_input_scale(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.scale(x, float(layer.scale))


@register(layers.ScaledActivation)
def scaled_activation(layer: Layer, setting: Setting, x: Moments) -> Moments:
    return calculus.scale(activate(x, layer.activation, setting), layer.gain)


@register(layers.gelu_tanh)
def gelu_tanh(function: Any) -> Function:
    return activations.activation("gelu", approximate=True)
