"""Mean and variance of the weights that Keras initializers draw."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fixinit import initializers
from fixinit._checked import checked
from fixinit._typing import Identifier
from fixinit._validation import check_initializer, check_known_shape
from fixinit.initializers.constant_kernel import ConstantKernel
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import find, register

# The variance of a standard normal that is cut off at two standard deviations.
_TRUNCATED = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))


@checked
def weight_moments(
    initializer: Identifier, shape: Sequence[int]
) -> tuple[float, float]:
    """Mean and variance of one weight that an initializer draws.

    Example:

    >>> mean, variance = fixinit.theory.weight_moments("he_normal", (50, 10))
    >>> mean, variance
    (0.0, 0.04)

    Args:
        initializer: Keras initializer, or what `keras.initializers.get` takes. `None`
            is a weight that does not exist: 0.
        shape: Sequence of ints, the shape of the weight.

    Returns:
        `(mean, variance)`: floats.

    Raises:
        NoRuleError: If the initializer is not known: register a rule for it.
    """
    if initializer is None:
        return 0.0, 0.0
    rule = find(initializer)
    if rule is None:
        initializer = check_initializer("initializer", initializer)
        rule = find(initializer)
    if rule is None:
        kind = type(initializer).__name__
        raise NoRuleError(
            f"No variance rule for the initializer {initializer!r}. "
            f"Register one: `@fixinit.theory.register({kind})` on a function "
            "`(initializer, shape) -> (mean, variance)`."
        )
    mean, variance = rule(initializer, tuple(shape))
    return float(mean), float(variance)


@register(keras.initializers.Zeros)
def zeros(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return 0.0, 0.0


@register(keras.initializers.Ones)
def ones(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return 1.0, 0.0


@register(keras.initializers.Constant)
def constant(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    value = np.asarray(keras.ops.convert_to_numpy(initializer.value), "float64")
    return value.mean(), value.var()


@register(keras.initializers.RandomNormal)
def random_normal(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return initializer.mean, initializer.stddev**2


@register(keras.initializers.TruncatedNormal)
def truncated_normal(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return initializer.mean, _TRUNCATED * initializer.stddev**2


@register(keras.initializers.RandomUniform)
def random_uniform(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    low, high = initializer.minval, initializer.maxval
    return (low + high) / 2, (high - low) ** 2 / 12


@register(keras.initializers.VarianceScaling)
def variance_scaling(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    fan_in, fan_out = fans(shape, initializer.input_axes, initializer.output_axes)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return 0.0, initializer.scale / max(1.0, fan[initializer.mode])


@register(keras.initializers.Orthogonal)
def orthogonal(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    return 0.0, initializer.gain**2 / max(rows, columns)


@register(initializers.ScaledUniformOrthogonal)
def scaled_orthogonal(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Averaged over the kernel, of which only the centre is not zero."""
    return 0.0, initializer.gain**2 / math.prod(shape[:-1])


@register(ConstantKernel)
def constant_kernel(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Over the kernel, in which nothing is drawn.

    Its weights are not independent: those of layers have rules of their own.
    """
    kernel = np.asarray(keras.ops.convert_to_numpy(initializer(shape)), "float64")
    return kernel.mean(), kernel.var()


@register(initializers.Rescaled)
def rescaled(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    mean, variance = weight_moments(initializer.initializer, shape)
    return initializer.gain * mean, initializer.gain**2 * variance


@register(initializers.Corrected)
def corrected(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return weight_moments(initializer.initializer, shape)


@register(initializers.Stacked)
def stacked(initializer: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    return weight_moments(initializer.initializer, shape[1:])


@checked
def fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """The `(fan_in, fan_out)` of a weight, as Keras computes them.

    Example:

    >>> fixinit.theory.fans((3, 3, 16, 32))
    (144, 288)

    Args:
        shape: Sequence of ints, the shape of the weight.
        input_axes, output_axes: Sequences of ints, the axes whose sizes are multiplied;
            by default the last but one and the last, times the sizes of all others.

    Returns:
        Two ints.
    """
    shape = check_known_shape("shape", shape, (3, 3, 16, 32), 0)
    for name, axes in (("input_axes", input_axes), ("output_axes", output_axes)):
        if not all(-len(shape) <= axis < len(shape) for axis in axes or ()):
            raise ValueError(
                f"Argument `{name}` must hold axes of the shape {shape}. "
                f"Received: {name}={axes}"
            )
    if input_axes is not None and output_axes is not None:
        fan_in, fan_out = (
            math.prod(shape[axis] for axis in axes)
            for axes in (input_axes, output_axes)
        )
        return fan_in, fan_out
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    receptive = math.prod(shape[:-2])
    return shape[-2] * receptive, shape[-1] * receptive
