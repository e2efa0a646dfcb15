"""The factor on kernels at which a whole model is critical."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from scipy import optimize

from fixinit import graph
from fixinit._checked import checked
from fixinit._validation import check_choice, check_number
from fixinit.theory.prediction import predict

_WIDEST = 2.0**20  # factors are looked for from its inverse up to it
_STEP = 4.0


@checked
def critical_factor(
    model: keras.Model,
    keep: str = "gradient",
    growth: float = 1.0,
    first: str | None = None,
    last: str | None = None,
    **options: Any,
) -> float:
    """The factor on the variance of all kernels that puts a model on the edge of chaos.

    With v the variance that a kernel's initializer draws with, all kernels get the
    variance `factor * v`; biases keep theirs. The factor solves

        gradient(first) = growth * gradient(last)

    where `gradient` is the mean square of the gradient that `fixinit.theory.predict`
    returns, at the outputs of the first weight layer and of the last one in front of
    the head. With `growth=1`, the average of `log(chi_1)` over the layers between
    them is 0: gradients neither vanish nor explode. That is for this depth and these
    inputs: for one activation and ever more layers it is `edge_of_chaos`.

    Example:

    >>> x = inputs = keras.Input((64,))
    >>> for _ in range(20):
    ...     x = keras.layers.Dense(64, "relu", kernel_initializer="lecun_normal")(x)
    >>> model = keras.Model(inputs, keras.layers.Dense(10)(x))
    >>> round(fixinit.theory.critical_factor(model), 6)  # 2 / fan_in
    2.0

    Args:
        model: Functional or Sequential `keras.Model`, built. Its initializers give the
            ratios of the kernels' variances; with `"lecun_normal"` everywhere, the
            factor is `sigma_w^2`, the `scale` of
            `keras.initializers.VarianceScaling(scale, "fan_in")`.
        keep: `"gradient"` (default), or `"variance"` for
            `mean_square(last) = growth * mean_square(first)`.
        growth: float. Shortcuts carry gradients by themselves, so that branches only
            add to them: unless the shortcuts are scaled down, a residual network is
            on its edge only without its branches. For it pass the growth that is
            tolerable over the whole depth, such as 2.
        first, last: Strings, names of calls as in `predict`, between which signals are
            kept. By default the first and the last weight layer, sum or stack that all
            paths through the model have in common; the last weight layer is the head,
            and counts for neither.
        **options: Arguments of `predict`, such as `training` and `input_variance`.

    Returns:
        float.

    Raises:
        ValueError: If an argument is outside its range, if the model has no two such
            layers, and if no factor from 2^-20 to 2^20 solves the equation, as in
            networks whose normalization undoes it.
        NoRuleError: As `predict`.

    References:

    - [Schoenholz et al., 2017](https://arxiv.org/abs/1611.01232)
    - [Yang and Schoenholz, 2017](https://arxiv.org/abs/1712.08969) (residual networks)
    """
    check_choice("keep", keep, ("gradient", "variance"))
    check_number("growth", growth, "a positive number", lambda x: x > 0)
    first, last = _ends(graph.trace(model), first, last)

    def excess(log_factor: float) -> float:
        factor = math.exp(log_factor)
        prediction = predict(model, kernel_factor=factor, **options)
        ends = prediction[first], prediction[last]
        if keep == "gradient":
            small, large = (end.gradient for end in reversed(ends))
        else:
            small, large = (end.mean_square for end in ends)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            grown = float(np.log(large) - np.log(small)) - math.log(growth)
        if math.isnan(grown):
            raise ValueError(
                f"At a factor of {factor:.3g} nothing arrives at `{first}` or "
                f"`{last}`, or too much: {ends}. Leave out a head that starts at 0, "
                "or pass `first` and `last` nearer to each other."
            )
        return float(np.clip(grown, -1e4, 1e4))

    low, high = _bracket(excess, (keep, growth, first, last))
    return math.exp(optimize.brentq(excess, low, high, xtol=1e-12) if low < high else 0)


def _bracket(
    excess: Callable[[float], float], asked: tuple[str, float, str, str]
) -> tuple[float, float]:
    """Two logarithms of factors between which the excess changes its sign."""
    inside, at_one = 0.0, excess(0.0)
    if abs(at_one) < 1e-12:
        return 0.0, 0.0
    step = math.log(_STEP) * (-1 if at_one > 0 else 1)
    while abs(inside) < math.log(_WIDEST):
        value = excess(inside + step)
        if value * at_one <= 0:
            low, high = sorted([inside, inside + step])
            return low, high
        inside += step
    keep, growth, first, last = asked
    moved = "grows" if at_one > 0 else "shrinks"
    raise ValueError(
        f"No factor on the kernels' variances keeps the {keep} between `{first}` and "
        f"`{last}`. Beyond growth={growth} it {moved} by {math.exp(abs(at_one)):.3g} "
        f"at a factor of 1, by {math.exp(abs(value)):.3g} at {math.exp(inside):.2g}. "
        "Shortcuts and normalizations carry signals by themselves: for residual "
        "networks pass what may be tolerated, such as growth=2."
    )


def _ends(traced: graph.Graph, first: str | None, last: str | None) -> tuple[str, str]:
    """The names of the calls between which signals are kept."""
    names = [call.name for call in traced.calls]
    for argument, name in (("first", first), ("last", last)):
        if name is not None:
            check_choice(argument, name, names)
    weights = [c for c in traced.calls if c.weight is not None or c.body is not None]
    before = weights[-1].outputs[0] if weights else 0
    found = [
        call.name
        for call in _trunk(traced)
        if call.outputs[0] < before and (call in weights or len(call.inputs) > 1)
    ]
    if (first is None or last is None) and len(found) < 2:
        raise ValueError(
            "The model needs two weight layers, sums or stacks in front of its head "
            f"that all paths have in common. Found: {found}. Name calls of "
            "`predict` as `first` and `last`."
        )
    return first or found[0], last or found[-1]


def _trunk(traced: graph.Graph) -> list[graph.Call]:
    """The calls that all paths from the inputs to the outputs pass."""
    earliest, found = min(traced.outputs), []
    for call in reversed(traced.calls):
        # Nothing behind it reads anything in front of it.
        if earliest >= call.outputs[0]:
            found.append(call)
        earliest = min([earliest, *call.inputs])
    return found[::-1]
