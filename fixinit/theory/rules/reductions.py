"""Rules for reductions of `keras.ops` over positions and channels."""

from collections.abc import Callable
from typing import Any

from fixinit.theory import calculus
from fixinit.theory.calculus.moments import Moments
from fixinit.theory.errors import NoRuleError
from fixinit.theory.registry import Setting, how_to_register, register
from fixinit.theory.rules.axes import axes_of


def _registered(*names: str) -> Callable[[Callable[..., Moments]], Any]:
    """Registers a function of moments and axes for reductions over some axes."""

    def decorate(reduce: Callable[..., Moments]) -> Callable[..., Moments]:
        @register(*names)
        def rule(operation: Any, setting: Setting, x: Moments) -> Moments:
            if getattr(operation, "initial", None) is not None:
                raise NoRuleError(
                    f"No variance rule for `{setting.name}` with an initial value. "
                    + how_to_register(operation)
                )
            y = reduce(x, axes_of(operation.axis, x, setting))
            return calculus.rearrange(y, setting.output_shape or (1,))

        return reduce

    return decorate


@_registered("Mean")
def mean(x: Moments, axes: list[int]) -> Moments:
    return calculus.average(x, axes)


@_registered("Sum")
def sum_(x: Moments, axes: list[int]) -> Moments:
    return calculus.total(x, axes)


@_registered("Max", "Amax")
def max_(x: Moments, axes: list[int]) -> Moments:
    return calculus.largest(x, axes)


@_registered("Min", "Amin")
def min_(x: Moments, axes: list[int]) -> Moments:
    return calculus.largest(x, axes, sign=-1.0)


@_registered("Var")
def var(x: Moments, axes: list[int]) -> Moments:
    return calculus.spread(x, axes)


@_registered("Std")
def std(x: Moments, axes: list[int]) -> Moments:
    return calculus.spread(x, axes, root=True)
