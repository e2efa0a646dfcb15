"""Fits the initializers of a scheme to the weight layers of a converted model."""

from collections.abc import Callable
from typing import Any

import keras

from fixinit import theory
from fixinit.conversion import given, kernels, kinds
from fixinit.layers import plain_layer
from fixinit.layers.configs import remade
from fixinit.schemes import Site
from fixinit.schemes.apply import Applicator


def drawn(
    applicator: Applicator, weight: Any, site: Site, splits: bool
) -> tuple[keras.layers.Layer, float | None]:
    """A weight layer of a survey again, drawn as the scheme says.

    Args:
        applicator: `fixinit.schemes.apply.Applicator`.
        weight: `fixinit.conversion.survey.Weight`.
        site: Its `fixinit.schemes.Site`.
        splits: bool, whether its activation becomes a layer of its own.

    Returns:
        `(layer, intended)`: the variance that the scheme wants here over that of
        He initialization; `None` where it leaves it to the model.
    """
    old = kinds.unwrapped(weight.call.operation)
    arguments = kinds.kernel_arguments(old)
    is_head = weight.role == "head"
    changes: dict[str, Any] = {"name": weight.call.operation.name}
    if splits and not is_head:
        changes |= {"activation": "linear", "activity_regularizer": None}
    new = applicator.weight(
        site,
        plain_layer(old),
        arguments,
        fit=_fit(old, arguments[-1], None if is_head else _gain(weight, site)),
        has_bias=weight.is_output or given.keeps_bias(old),
        changes=changes,
    )
    if kinds.kernel_arguments(new) and kinds.size_argument(new) != arguments[-1]:
        return new, 1.0  # a factor of the kernel has its size, and starts at 1
    initializer = applicator.scheme.kernel_initializer(site)
    if initializer is None:
        return new, None
    intended = _intended(initializer, old, arguments[-1])
    return new, intended * _activation_square(applicator, site)


def redrawn(applicator: Applicator, layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer that keeps its initializers, with a draw of its own."""
    inner = kinds.unwrapped(layer)
    seeds = {
        name: applicator.seeded(getattr(inner, name))
        for name in kinds.kernel_arguments(inner)
    }
    return unwrapped(layer, seeds)


def unwrapped(layer: keras.layers.Layer, changes: dict) -> keras.layers.Layer:
    """A weight layer again, without a wrapper around it, under the wrapper's name."""
    return remade(kinds.unwrapped(layer), {**changes, "name": layer.name})


def _fit(
    old: keras.layers.Layer, main: str, gain: float | None
) -> Callable[[Any, str], Any]:
    """A function that fits an initializer to the kernel of an argument.

    Without a gain, the initializer stays but for what a constraint asks for.
    """

    def fit(initializer: Any, argument: str) -> Any:
        if gain is not None:
            # No activation follows the other part of a separable convolution.
            behind = gain if argument == main else 1.0
            initializer = kernels.fitted(initializer, old, argument, behind)
        if argument == main:
            initializer = given.inside_constraint(initializer, old)
        return initializer

    return fit


def _gain(weight: Any, site: Site) -> float:
    """What keeps the mean square from one weight layer to the next."""
    if not kinds.reads_signals(weight.call.operation):
        return 1.0
    if site.preactivation or weight.role != "branch":
        return 2.0
    activation = weight.activation
    if weight.call in weight.branch.last:
        activation = activation or weight.branch.end_activation
    if activation is None:
        return weight.gain
    return kernels.gain_behind(activation.operation)


def _activation_square(applicator: Applicator, site: Site) -> float:
    """The mean square behind the scheme's own ReLU, over that of a ReLU."""
    relu = keras.layers.Activation("relu", name="activation")
    new = applicator.scheme.activation(site, relu)
    if new is relu:
        return 1.0
    try:
        return theory.activation_square(new) / theory.activation_square(relu)
    except theory.NoRuleError:
        return 1.0


def _intended(initializer: Any, layer: keras.layers.Layer, argument: str) -> float:
    shape = tuple(kinds.kernel_of(layer, argument).shape)
    plain = theory.weight_moments(keras.initializers.HeNormal(), shape)[1]
    return theory.weight_moments(initializer, shape)[1] / plain
