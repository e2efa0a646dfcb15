"""Functions of single values, exact where these are Gaussian."""

from collections.abc import Callable, Sequence

import numpy as np

from fixinit._checked import checked
from fixinit._validation import check_factor
from fixinit.theory.calculus import positions
from fixinit.theory.calculus.chains import Linear, Step, reporter
from fixinit.theory.calculus.concatenation import by_parts
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.calculus.pairs import first, second, set_diagonal
from fixinit.theory.errors import NoRuleError
from fixinit.theory.gaussian.functions import Function, compose
from fixinit.theory.gaussian.piecewise import PiecewiseLinear


@checked
def apply(x: Moments, function: Function) -> Moments:
    """Applies an element-wise function.

    With u and v the Gaussian values at a pair of positions, `mean` is `E[f(u)]` and
    `same` and `cross` are `E[f(u) f(v)]`; gradients are multiplied by `E[f'(u)^2]`.
    Exact where x is Gaussian, or a function of something Gaussian. Otherwise x is taken
    to be Gaussian of its moments.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,))
    >>> relu = fixinit.theory.activation("relu")
    >>> y = fixinit.theory.calculus.apply(x, relu)
    >>> round(y.mean_square, 9), round(y.mean_value, 9), round(y.correlation, 9)
    (0.5, 0.39894228, 0.318309886)

    Args:
        x: `fixinit.theory.Moments`.
        function: `fixinit.theory.Function`, such as of `fixinit.theory.activation`.

    Returns:
        `Moments` of the shape of `x`.
    """
    if x.parts:
        return by_parts(x, lambda part: apply(part, function))
    base, inner = x.latent or (x, PiecewiseLinear())
    composed = function if x.latent is None else compose(function, inner)
    return function_of(base, composed, [x], lambda u: [function.derivative(inner(u))])


def function_of(
    base: Moments,
    function: Function,
    xs: Sequence[Moments],
    partials: Callable[[np.ndarray], Sequence],
) -> Moments:
    """A function of a Gaussian tensor, by way of other functions of it.

    Args:
        base: `Moments`, the Gaussian.
        function: `fixinit.theory.Function`.
        xs: List of `Moments` that the values are made from.
        partials: Callable from values of `base` to the derivatives with respect to xs.
    """
    try:
        y, slope = of_gaussian(base, function)
    except RecursionError:
        raise NoRuleError(
            "No variance rule for so many functions of one Gaussian, each inside of "
            'the next. Use fixinit.theory.predict(model, unknown="measure").'
        ) from None
    if isinstance(function, PiecewiseLinear) and function.is_linear:
        y.linear = Linear(base, function)
    else:
        y.latent = (base, function)
    y.step = Step(y, xs, partials)
    report = reporter(y.step, base.mean, np.maximum(base.squares - base.mean**2, 0.0))
    y.node.link((base,), lambda g: [slope * g], report)
    return y


def of_gaussian(x: Moments, function: Function) -> tuple[Moments, np.ndarray]:
    """`function` of Gaussian values with the moments of `x`, and `E[function'^2]`."""
    shape = x.shape
    variance = np.maximum(x.squares - x.mean**2, 0.0)
    # What rounding leaves of a difference is no variance.
    variance = np.where(variance < 1e-14 * x.squares, 0.0, variance)
    deviation = np.sqrt(variance)
    mean, square, slope = function.moments(x.mean, variance)
    half, whole = positions.half_of_pairs(shape)

    def pairs(values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), -1)[:, half]

    means = pairs(first(x.mean, shape)), pairs(second(x.mean, shape))
    deviations = pairs(first(deviation, shape)), pairs(second(deviation, shape))
    scale = np.maximum(deviations[0] * deviations[1], 1e-300)
    covariance = np.stack([pairs(x.same), pairs(x.cross)]) - means[0] * means[1]
    correlation = np.clip(covariance / scale, -1, 1)
    joint = function.joint_moment(means, deviations, correlation)
    same, cross = joint[..., whole].reshape(2, *x.same.shape)
    return x.like(mean, set_diagonal(same, shape, square), cross), slope


@checked
def scale(x: Moments, factor: float, shift: float = 0.0) -> Moments:
    """Computes `factor * x + shift` with constants.

    Gradients are multiplied by `factor^2`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,), variance=2.0)
    >>> y = fixinit.theory.calculus.scale(x, 3.0, shift=1.0)
    >>> round(y.mean_value, 9), round(y.mean_square, 9)  # 9 * 2 + 1
    (1.0, 19.0)

    Args:
        x: `fixinit.theory.Moments`.
        factor: float.
        shift: float, 0 by default.

    Returns:
        `Moments` of the shape of `x`.
    """
    check_factor("factor", factor)
    check_factor("shift", shift)
    return apply(x, PiecewiseLinear((), [factor], [shift]))


def again(x: Moments) -> Moments:
    """The same values, with a gradient of their own."""
    if x.parts:
        return by_parts(x, again)
    y = x.like(x.mean, x.same, x.cross)
    if x.latent is None:
        y.linear = Linear(x, PiecewiseLinear())
    else:
        y.latent = x.latent
    y.step = Step(y, [x], lambda u: [np.ones_like(u)])
    y.node.link((x,), lambda g: [g])
    return y


@checked
def randomly_scale(
    x: Moments,
    factor: tuple[float, float] = (1.0, 0.0),
    shift: tuple[float, float] = (0.0, 0.0),
) -> Moments:
    """Computes `a * x + b` with a and b drawn for every channel.

    `E[a^2] E[x x'] + 2 E[a] E[b] E[x] + E[b^2]` for pairs; gradients are multiplied by
    `E[a^2]`.

    Example:

    >>> x = fixinit.theory.Moments.inputs((100,), variance=2.0)
    >>> y = fixinit.theory.calculus.randomly_scale(x, factor=(1.0, 0.5))
    >>> y.mean_square  # (1 + 0.5) * 2
    3.0

    Args:
        x: `fixinit.theory.Moments`.
        factor: `(mean, variance)` of a; `(1, 0)` by default.
        shift: `(mean, variance)` of b; `(0, 0)` by default.

    Returns:
        `Moments` of the shape of `x`.
    """
    if factor[1] == 0 and shift[1] == 0:
        if (factor[0], shift[0]) == (1.0, 0.0):
            return x
        return scale(x, factor[0], shift[0])
    square = factor[0] ** 2 + factor[1]
    offset = shift[0] ** 2 + shift[1]
    means = first(x.mean, x.shape) + second(x.mean, x.shape)
    drift = factor[0] * shift[0] * means + offset
    y = x.like(
        factor[0] * x.mean + shift[0], square * x.same + drift, square * x.cross + drift
    )
    y.node.link((x,), lambda g: [square * g])
    return y
